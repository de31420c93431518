"""One session of the live stream: its batches, whoever trades it, and what happens when that changes."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from features.assembler import RowAssembler
from marketdata.clock import NS_PER_S, Session, from_ns
from marketdata.events import EventArray, empty_events
from marketdata.messages import EventBatch, FeedStatus
from marketdata.partitions import PartitionMissing, PartitionQuarantined, load_partition
from marketdata.paths import DataRoot, PartitionKey
from marketdata.settings import Settings
from models.bundle import Bundle, BundleError
from serving.account import load_account, obeyed_by, save_account
from serving.checkpoints import CheckpointError
from serving.executor import BANNERS, Mode, PaperExecutor, Sinks
from serving.feed_watch import FeedWatch
from serving.instructions import Instruction, as_controls, standing
from serving.ledger_store import LedgerSession, LedgerStore
from serving.publishing import BusPublisher, SessionRecords
from serving.resuming import LIVE_PREFIX, Overlap, Place, forget, forget_other_days, interrupted, keep, resume
from serving.session_files import SessionFacts, SessionFiles, read_rows
from trading.carried import load_carried
from trading.controls import ControlArray
from trading.journal import FILL

OnNewChampion = Literal["flatten", "hold"]

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


class LiveSession:
    """The running session: keeps its batches and hands them to whoever trades it.

    Parameters
    ----------
    root, settings, session
        What is traded.
    say : callable
        Gets every line for a person.
    publisher : BusPublisher, optional
        Gets order flow, forecasts and fills.
    """

    def __init__(
        self,
        root: DataRoot,
        settings: Settings,
        session: Session,
        say: Callable[[str], None],
        publisher: BusPublisher | None = None,
    ) -> None:
        self._root, self._settings, self._say = root, settings, say
        self._publisher = publisher
        self._records: SessionRecords | None = None
        self._watch = FeedWatch()
        self.session = session
        self._batches: list[EventBatch] = []
        self._executor: PaperExecutor | None = None
        self._wanted: tuple[Mode, Bundle] | None = None
        self._place = Place()
        self._overlap: Overlap | None = None
        self._given: Sequence[Instruction] = ()
        self._told: list[Instruction] = []
        self._control: ControlArray | None = None
        self._asked_ns = self._first_asked_ns = self._kept_ns = 0
        self._handing_over = False
        self._refused = ""
        forget_other_days(root, session.date.isoformat())
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
            self._watch.took(len(batch.events))
            return
        self._step(executor, batch.events, batch.watermark_ns, trade=not self._handing_over)
        self._watch.took(len(batch.events))
        if self._handing_over and executor.watermark_ns >= self._asked_ns + SETTLE_NS:
            stuck = executor.watermark_ns >= self._first_asked_ns + FLATTEN_WITHIN_NS
            if executor.is_flat or stuck:
                if not executor.is_flat:
                    self._say(f"could not flatten within a minute, still holding {executor.positions()}")
                self._release("replaced")
                self._start()
            else:
                self._ask_to_flatten(executor)

    def hear(self, status: FeedStatus) -> None:
        """Take what the feed says about itself: the engine gets no heartbeats for what is not seen at its time."""
        was_blind = self._watch.is_blind
        self._watch.hear(status)
        if self._settings.risk.dead_man_ns > 0 and self._watch.is_blind and not was_blind:
            self._say("no heartbeats until the stream is back: what rests will be cancelled")

    def obey(self, given: Sequence[Instruction]) -> None:
        """Hand what people asked for to the engine with the next batch; without an engine it waits for one."""
        self._given = given
        if self._executor is not None and len(given) > self._place.obeyed:
            self._tell(given[self._place.obeyed :])

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
        """Write account and checkpoint down, so that the session survives even a kill."""
        executor = self._executor
        if executor is not None and executor.watermark_ns > self._kept_ns:
            self._kept_ns = executor.watermark_ns
            save_account(self._root, executor.mode, executor.engine.account(executor.state), self._place.obeyed)
            keep(executor, self._place)

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
                "fills": self._place.fills,
                "late_rows": executor.late_rows,
            }
        for item in standing(self._given, len(self._given)):
            facts[item.verb] = f"by {item.by}: {item.reason}"
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
                self._settings,
                self.session,
                bundle,
                mode,
                self._signals,
                load_account(self._root, mode),
                carried=load_carried(self._root, self._settings, self.session.date),
            )
        except BundleError as error:
            self._refused = bundle.sha256
            self._say(f"{self._name(bundle)} cannot trade here: {error}")
            return
        ledger = LedgerStore(
            self._root.ledger_database, {item.instrument_id: item.symbol for item in self._settings.instruments}
        )
        history, watermark = self._history()
        resumed = self._resume(executor, ledger)
        if resumed is None:
            obeyed = obeyed_by(self._root, mode)
            self._place, self._overlap = Place(obeyed=obeyed), None
            told = standing(self._given, obeyed)
            self._open_files(executor, ledger)
        else:
            self._place, self._overlap = resumed, Overlap(executor.watermark_ns, resumed.at_watermark)
            told = list(self._given[resumed.obeyed :])
        self._executor, self._handing_over, self._control = executor, False, None
        self._told, self._kept_ns = [], 0
        self._tell(told)
        if len(history):
            self._step(executor, history, watermark, trade=False)
        begins = from_ns(max(executor.watermark_ns, self.session.open_ns))
        verb = "trades" if resumed is None else "goes on"
        self._say(f"{BANNERS[mode]}; {self._name(bundle)} {verb} from {begins:%Y-%m-%d %H:%M:%S} UTC")
        if resumed is not None:
            self._say(f"resumed with {executor.positions()} and {self._place.fills} fills")

    def _resume(self, executor: PaperExecutor, ledger: LedgerStore) -> Place | None:
        """Put the executor where the same model stood when it was stopped in this session; None where it starts anew."""
        for facts in interrupted(self._root, self.session.date.isoformat()):
            if (facts.mode, facts.bundle_sha256) != (executor.mode, executor.bundle.sha256):
                self._say(f"{facts.session_id} was interrupted and is not gone on with: another model stands now")
                continue
            try:
                return resume(self._root, executor, facts, ledger)
            except CheckpointError as error:
                self._say(f"the session starts anew: {error}")
                return None
        return None

    def _open_files(self, executor: PaperExecutor, ledger: LedgerStore) -> None:
        """Begin the executor's journal and its session in the ledger."""
        bundle, mode, day = executor.bundle, executor.mode, self.session.date.isoformat()
        name = f"{LIVE_PREFIX}{day}-{mode}-{bundle.sha256[:12]}-{time.time_ns() // 1_000_000}"
        fingerprints = (executor.config.fingerprint(), executor.predictor.assembler.fingerprint)
        facts = SessionFacts(name, day, mode, bundle.manifest.name, bundle.sha256, *fingerprints)
        files = SessionFiles(self._root.journals / name, facts)
        opened, closes = self.session.open_ns, self.session.close_ns
        ledger.begin(LedgerSession(name, day, mode, facts.model, bundle.sha256, opened, closes))
        executor.sinks = Sinks(files, ledger, name)

    def _step(self, executor: PaperExecutor, events: EventArray, watermark_ns: int, *, trade: bool) -> None:
        """Give the executor what it has not had yet, with what it was told."""
        if self._overlap is not None:
            events = self._overlap.fresh(events)
        told, self._told = self._told, []
        control, self._control = self._control, None
        before = executor.watermark_ns
        due = max(before, executor.state.now_ns, self.session.open_ns)
        controls = as_controls(told, due)
        if control is not None:
            controls = np.concatenate([controls, control])
        step = executor.step(events, watermark_ns, controls, trade=trade, seen=not self._watch.is_blind)
        self._place.moved(events, before, executor.watermark_ns)
        self._place.fills += int((step.journal["kind"] == FILL).sum())
        if self._publisher is not None and trade:
            self._publisher.put(list(self._bus_records(executor, len(step.journal)).records(step)))

    def _bus_records(self, executor: PaperExecutor, fresh_rows: int) -> SessionRecords:
        """Return what makes this executor's records, with the holdings of the rows before the latest ``fresh_rows``."""
        session_id, bundle = executor.sinks.session_id, executor.bundle
        if self._records is None or (self._records.session_id, self._records.bundle) != (session_id, bundle):
            assembler = executor.predictor.assembler
            made = SessionRecords(self._settings, assembler.spec.columns, assembler.fingerprint, bundle, session_id)
            if executor.sinks.files is not None:
                before = read_rows(executor.sinks.files.folder)
                list(made.trades(before[: len(before) - fresh_rows]))
            self._records = made
        return self._records

    def _tell(self, instructions: Sequence[Instruction]) -> None:
        """Let the engine know of instructions with its next step."""
        self._told += instructions
        self._place.obeyed = max(self._place.obeyed, len(self._given))
        for item in instructions:
            self._say(f"{item.verb.upper()} by {item.by}: {item.reason}")

    def _release(self, status: str) -> None:
        """Close the files of whoever trades; the account is kept for the next session of its mode."""
        executor, self._executor, self._handing_over = self._executor, None, False
        if executor is None:
            return
        account = executor.engine.account(executor.state)
        save_account(self._root, executor.mode, account, self._place.obeyed)
        if status == "stopped":
            keep(executor, self._place)
        else:
            forget(executor)
        sinks = executor.sinks
        if sinks.files is not None:
            sinks.files.finish(status, late_rows=executor.late_rows, account=account._asdict())
        if sinks.ledger is not None:
            sinks.ledger.finish(sinks.session_id, status)
            sinks.ledger.close()
        self._say(f"{self._name(executor.bundle)} {status}: equity {executor.equity():,.2f}")

    def _ask_to_flatten(self, executor: PaperExecutor) -> None:
        self._place.controls += 1
        self._control = executor.flatten("flowsense", self._place.controls)
        self._asked_ns = executor.watermark_ns

    def _history(self) -> tuple[EventArray, int]:
        """Return the session's events so far and the watermark after them."""
        if not self._batches:
            return empty_events(0), 0
        return np.concatenate([batch.events for batch in self._batches]), self._batches[-1].watermark_ns

    @staticmethod
    def _name(bundle: Bundle) -> str:
        return f"{bundle.manifest.name} {bundle.sha256[:12]}"
