"""One session of the live stream: its batches, whoever trades it, and what happens when that changes."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from features.assembler import RowAssembler
from marketdata.clock import NS_PER_S, Session, from_ns
from marketdata.events import EventArray, empty_events
from marketdata.messages import EventBatch
from marketdata.partitions import PartitionMissing, PartitionQuarantined, load_partition
from marketdata.paths import DataRoot, PartitionKey
from marketdata.settings import Settings
from models.bundle import Bundle, BundleError
from serving.executor import BANNERS, Mode, PaperExecutor, Sinks
from serving.ledger_store import LedgerSession, LedgerStore
from serving.session_files import SessionFacts, SessionFiles
from trading.controls import ControlArray
from trading.engine import Account
from trading.journal import FILL

OnNewChampion = Literal["flatten", "hold"]

LIVE_PREFIX: Final = "live-"
"""How the ids of live sessions begin; a night's paper sessions begin with their date."""
SETTLE_NS: Final = 1 * NS_PER_S
"""Market time after which an order to flatten, and every forecast made before it, has had its effect."""
FLATTEN_WITHIN_NS: Final = 60 * NS_PER_S
"""Market time after which a position that cannot be closed (no quotes, halted) is handed over as it is, and said so."""


def session_signals(root: DataRoot, settings: Settings, session: Session) -> tuple[dict[str, pl.DataFrame], list[str]]:
    """Return the published slow signals of a session and of the one before, by kind, and the kinds that are absent.

    What was known last yesterday still holds at the open, here as in the night's dataset.
    """
    days = [s.date for s in settings.market_calendar().sessions(settings.start_date, session.date)[-2:]]
    found: dict[str, pl.DataFrame] = {}
    absent = []
    for kind in RowAssembler(settings).kinds:
        frames = []
        for day in days:
            try:
                frames.append(load_partition(root, PartitionKey(f"{kind}_signals", day)))
            except (PartitionMissing, PartitionQuarantined):
                if day == session.date:
                    absent.append(kind)
        if frames:
            found[kind] = pl.concat(frames).sort("ts_known", maintain_order=True)
    return found, absent


def load_account(root: DataRoot, mode: Mode) -> Account | None:
    """Return what the last live session of a mode left: equity, peak and drawdown state; None before the first."""
    try:
        return Account(**json.loads(_account_file(root, mode).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def save_account(root: DataRoot, mode: Mode, account: Account) -> None:
    """Keep an account for the next session: a drawdown survives restarts."""
    path = _account_file(root, mode)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(account._asdict()) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _account_file(root: DataRoot, mode: Mode) -> Path:
    return root.journals / f"account-{mode}.json"


def rearm(root: DataRoot, mode: Mode, by: str) -> Account:
    """Leave HALTED: a named person makes the equity of now the new peak (R21); the next session starts from there.

    Raises
    ------
    ValueError
        If nobody is named, or there is no account to re-arm.
    """
    account = load_account(root, mode)
    if not by.strip():
        raise ValueError("re-arming needs the name of the person who does it")
    if account is None:
        raise ValueError(f"nothing was traded in mode {mode} yet")
    fresh = Account(account.equity_nanos, account.equity_nanos, 0)
    save_account(root, mode, fresh)
    root.logs.mkdir(parents=True, exist_ok=True)
    with (root.logs / "rearm.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps({"wall_ns": time.time_ns(), "by": by, "mode": mode, "before": account._asdict()}) + "\n")
    return fresh


class LiveSession:
    """The running session: keeps its batches and hands them to whoever trades it.

    Parameters
    ----------
    root, settings, session
        What is traded.
    say : callable
        Gets every line for a person.
    """

    def __init__(self, root: DataRoot, settings: Settings, session: Session, say: Callable[[str], None]) -> None:
        self._root, self._settings, self._say = root, settings, say
        self.session = session
        self._batches: list[EventBatch] = []
        self._executor: PaperExecutor | None = None
        self._wanted: tuple[Mode, Bundle] | None = None
        self._control: ControlArray | None = None
        self._controls = self._asked_ns = self._first_asked_ns = 0
        self._handing_over = False
        self._refused = ""
        self._fills = 0
        self._signals, absent = session_signals(root, settings, session)
        if absent:
            say(f"no published {', '.join(absent)} signals for {session.date}: what was known before holds, or nothing")

    @property
    def mode(self) -> Mode | None:
        """What the session is being traded as; None while nobody trades."""
        return self._executor.mode if self._executor is not None else None

    def take(self, batch: EventBatch) -> None:
        """Trade a batch."""
        self._batches.append(batch)
        executor = self._executor
        if executor is None:
            return
        control, self._control = self._control, None
        step = executor.step(batch.events, batch.watermark_ns, control, trade=not self._handing_over)
        self._fills += int((step.journal["kind"] == FILL).sum())
        if self._handing_over and executor.watermark_ns >= self._asked_ns + SETTLE_NS:
            stuck = executor.watermark_ns >= self._first_asked_ns + FLATTEN_WITHIN_NS
            if executor.is_flat or stuck:
                if not executor.is_flat:
                    self._say(f"could not flatten within a minute, still holding {executor.positions()}")
                self._release("replaced")
                self._start()
            else:
                self._ask_to_flatten(executor)

    def serve(self, mode: Mode | None, bundle: Bundle | None, on_new_champion: OnNewChampion) -> None:
        """Make this bundle the one that trades; None: nobody does, and what is held is closed."""
        self._wanted = (mode, bundle) if mode is not None and bundle is not None else None
        executor = self._executor
        if executor is None:
            self._start()
        elif self._wanted is not None and (mode, self._wanted[1].sha256) == (executor.mode, executor.bundle.sha256):
            self._handing_over = False
        elif self._wanted is not None and on_new_champion == "hold" and mode == executor.mode:
            executor.adopt(self._wanted[1], *self._history())
            self._say(f"{self._name(self._wanted[1])} takes over and keeps what is held")
        elif not self._handing_over:
            self._handing_over = True
            self._ask_to_flatten(executor)
            self._first_asked_ns = self._asked_ns
            self._say(f"{self._name(executor.bundle)} stops: flattening")

    def end(self, status: Literal["closed", "stopped"]) -> None:
        """End the session; ``closed`` lets everything happen up to its close."""
        if self._executor is not None:
            if status == "closed":
                self._executor.finish()
            self._release(status)
        self._batches.clear()

    def keep_account(self) -> None:
        """Write the account down, so that a drawdown survives even a kill."""
        if self._executor is not None:
            save_account(self._root, self._executor.mode, self._executor.engine.account(self._executor.state))

    def facts(self) -> dict[str, Any]:
        """Return what the heartbeat says about the session."""
        executor = self._executor
        watermark = self._batches[-1].watermark_ns if self._batches else self.session.open_ns
        facts: dict[str, Any] = {
            "session": self.session.date.isoformat(),
            "market_time": from_ns(watermark).isoformat(timespec="milliseconds"),
            "mode": self.mode,
            "handing_over": self._handing_over,
        }
        if executor is not None:
            facts |= {
                "model": executor.bundle.manifest.name,
                "bundle_sha256": executor.bundle.sha256,
                "equity": executor.equity(),
                "positions": executor.positions(),
                "fills": self._fills,
                "late_rows": executor.late_rows,
            }
        return facts

    def _start(self) -> None:
        """Let whoever is wanted trade from now on; what passed is caught up with and not traded."""
        if self._wanted is None:
            return
        mode, bundle = self._wanted
        if bundle.sha256 == self._refused:
            return
        try:
            executor = PaperExecutor(
                self._settings, self.session, bundle, mode, self._signals, load_account(self._root, mode)
            )
        except BundleError as error:
            self._refused = bundle.sha256
            self._say(f"{self._name(bundle)} cannot trade here: {error}")
            return
        name = f"{LIVE_PREFIX}{self.session.date.isoformat()}-{mode}-{bundle.sha256[:12]}-{time.time_ns() // 1_000_000}"
        facts = SessionFacts(
            name,
            self.session.date.isoformat(),
            mode,
            bundle.manifest.name,
            bundle.sha256,
            executor.config.fingerprint(),
            executor.predictor.assembler.fingerprint,
        )
        symbols = {item.instrument_id: item.symbol for item in self._settings.instruments}
        files = SessionFiles(self._root.journals / name, facts)
        ledger = LedgerStore(self._root.ledger_database, symbols)
        opened, closes = self.session.open_ns, self.session.close_ns
        ledger.begin(LedgerSession(name, facts.day, mode, facts.model, bundle.sha256, opened, closes))
        executor.sinks = Sinks(files, ledger, name)
        history, watermark = self._history()
        executor.step(history, watermark, trade=False)
        self._executor, self._handing_over, self._control = executor, False, None
        begins = from_ns(max(watermark, self.session.open_ns))
        self._say(f"{BANNERS[mode]}; {self._name(bundle)} trades from {begins:%Y-%m-%d %H:%M:%S} UTC")

    def _release(self, status: str) -> None:
        """Close the files of whoever trades; the account is kept for the next session of its mode."""
        executor, self._executor, self._handing_over = self._executor, None, False
        if executor is None:
            return
        account = executor.engine.account(executor.state)
        save_account(self._root, executor.mode, account)
        sinks = executor.sinks
        if sinks.files is not None:
            sinks.files.finish(status, late_rows=executor.late_rows, account=account._asdict())
        if sinks.ledger is not None:
            sinks.ledger.finish(sinks.session_id, status)
            sinks.ledger.close()
        self._say(f"{self._name(executor.bundle)} {status}: equity {executor.equity():,.2f}")

    def _ask_to_flatten(self, executor: PaperExecutor) -> None:
        self._controls += 1
        self._control = executor.flatten("flowsense", self._controls)
        self._asked_ns = executor.watermark_ns

    def _history(self) -> tuple[EventArray, int]:
        """Return the session's events so far and the watermark after them."""
        if not self._batches:
            return empty_events(0), 0
        return np.concatenate([batch.events for batch in self._batches]), self._batches[-1].watermark_ns

    @staticmethod
    def _name(bundle: Bundle) -> str:
        return f"{bundle.manifest.name} {bundle.sha256[:12]}"
