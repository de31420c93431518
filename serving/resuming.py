"""Going on with a live session after a restart: where the executor stood, and what of the stream it had already taken.

Every second, and when it is stopped, the executor keeps a checkpoint beside its journal. One that starts again in the same
session with the same model goes on from there: with its positions, resting orders, drawdown state and features. Its journal and
forecasts are cut back to the checkpoint, the ledger is made again from the journal, and events that it had taken before are
passed over when the stream gives them again.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from marketdata.events import EventArray
from marketdata.paths import DataRoot
from serving.checkpoints import CHECKPOINT_FILE, CheckpointError, read_checkpoint, save_checkpoint
from serving.executor import PaperExecutor, Sinks
from serving.ledger_store import LedgerSession, LedgerStore
from serving.session_files import SessionFacts, SessionFiles, read_facts, read_rows

LIVE_PREFIX: Final = "live-"
"""How the ids of live sessions begin; a night's paper sessions begin with their date."""


@dataclass
class Place:
    """How far an executor has come in its session.

    Attributes
    ----------
    at_watermark : int
        Events taken whose receive time is the executor's watermark: a stream that starts over gives them again.
    fills : int
        So far.
    obeyed : int
        Number of the last instruction that the engine was told.
    controls : int
        Controls that the executor gave itself.
    """

    at_watermark: int = 0
    fills: int = 0
    obeyed: int = 0
    controls: int = 0

    def moved(self, events: EventArray, before_ns: int, now_ns: int) -> None:
        """Take note that ``events`` were taken and the watermark went from one to the other."""
        count = int(np.count_nonzero(events["ts_recv"] == now_ns))
        self.at_watermark = count if now_ns > before_ns else self.at_watermark + count


class Overlap:
    """Leaves out of a stream what an executor had taken before it was stopped."""

    def __init__(self, watermark_ns: int, at_watermark: int) -> None:
        self._watermark, self._left = watermark_ns, at_watermark

    def fresh(self, events: EventArray) -> EventArray:
        """Return the events of the stream's next batch that were not taken yet."""
        begin = int(np.searchsorted(events["ts_recv"], self._watermark, side="left"))
        equal = int(np.searchsorted(events["ts_recv"], self._watermark, side="right")) - begin
        again = min(equal, self._left)
        self._left -= again
        return events[begin + again :]


def keep(executor: PaperExecutor, place: Place) -> None:
    """Write the executor's checkpoint beside its journal."""
    files = executor.sinks.files
    if files is None:
        return
    facts = {**asdict(files.facts), **asdict(place), "forecasts": files.forecasts, "rows": files.rows}
    save_checkpoint(files.folder / CHECKPOINT_FILE, executor.checkpoint(), facts)


def forget(executor: PaperExecutor) -> None:
    """Remove the checkpoint: the session has ended, nothing is to be resumed."""
    if executor.sinks.files is not None:
        (executor.sinks.files.folder / CHECKPOINT_FILE).unlink(missing_ok=True)


def forget_other_days(root: DataRoot, day: str) -> None:
    """Remove checkpoints of sessions of other days: nobody goes on with those."""
    for path in root.journals.glob(f"{LIVE_PREFIX}*/{CHECKPOINT_FILE}"):
        if read_facts(path.parent)["day"] != day:
            path.unlink()


def interrupted(root: DataRoot, day: str) -> list[SessionFacts]:
    """Return the sessions of a day that left a checkpoint, the latest first."""
    found = sorted(
        root.journals.glob(f"{LIVE_PREFIX}{day}-*/{CHECKPOINT_FILE}"), key=lambda path: path.stat().st_mtime_ns
    )
    names = SessionFacts.__dataclass_fields__
    return [
        SessionFacts(**{k: v for k, v in read_facts(path.parent).items() if k in names}) for path in reversed(found)
    ]


def resume(root: DataRoot, executor: PaperExecutor, facts: SessionFacts, ledger: LedgerStore) -> Place:
    """Put a fresh executor where an interrupted session stood, and let it write on in that session's files.

    Parameters
    ----------
    facts : SessionFacts
        One of :func:`interrupted`, of the executor's own mode and bundle.

    Raises
    ------
    CheckpointError
        If the checkpoint cannot be read, or code or settings have changed since; nothing is changed then.
    """
    folder: Path = root.journals / facts.session_id
    stored = read_checkpoint(folder / CHECKPOINT_FILE)
    known = {"engine_fingerprint": executor.config.fingerprint()}
    known["feature_fingerprint"] = executor.predictor.assembler.fingerprint
    for name, value in known.items():
        if stored.facts[name] != value:
            raise CheckpointError(f"{facts.session_id}: another {name.replace('_', ' ')} than now")
    state = stored.fill(executor.checkpoint())
    running = replace(facts, status="running")
    try:
        files = SessionFiles.resume(folder, running, int(stored.facts["forecasts"]), int(stored.facts["rows"]))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{facts.session_id}: {error}") from error
    executor.restore(state)
    session = executor.session
    entry = LedgerSession(
        facts.session_id, facts.day, executor.mode, facts.model, facts.bundle_sha256, session.open_ns, session.close_ns
    )
    ledger.begin(entry)
    ledger.append(facts.session_id, read_rows(folder))
    executor.sinks = Sinks(files, ledger, facts.session_id)
    return Place(**{name: int(stored.facts[name]) for name in Place.__dataclass_fields__})
