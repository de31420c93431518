"""One session traded on paper from events that are all there: what the night does, and what a replay does again."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.rows import FeatureRows
from marketdata.clock import Session
from marketdata.events import EventArray
from marketdata.paths import DataRoot
from marketdata.settings import Settings
from models.bundle import Bundle
from models.forecast import ForecastArray
from serving.executor import Mode, PaperExecutor, Sinks
from serving.ledger_store import LedgerSession, LedgerStore
from serving.predictor import LiveRows, join_rows
from serving.session_files import SessionFacts, SessionFiles
from serving.session_summary import summarise_session
from trading.carried import load_carried
from trading.engine import Account
from trading.journal import Journal

BATCH_EVENTS: Final = 8_192
"""Events a batch when all of them are there; any number gives the same session."""


@dataclass(frozen=True)
class SessionResult:
    """What a traded session gave.

    Attributes
    ----------
    journal : journal array
        Everything the engine did.
    forecasts : forecast array
        In the order in which they were made.
    rows : LiveRows
        Feature rows of the executor, and ``x`` what the model saw.
    account : Account
        What the next session starts from.
    late_rows : int
        Market rows that came after the engine's time; 0 as long as the feed keeps its bound.
    summary : dict
        Plain data for pages, see :func:`serving.session_summary.summarise_session`.
    folder : Path
        Where journal and forecasts lie.
    """

    session_id: str
    session: Session
    mode: Mode
    model: str
    bundle_sha256: str
    journal: Journal
    forecasts: ForecastArray
    rows: LiveRows
    x: npt.NDArray[np.float32]
    columns: tuple[str, ...]
    account: Account
    late_rows: int
    summary: dict[str, Any]
    folder: Path

    def feature_rows(self, position: int) -> FeatureRows:
        """Return the executor's feature rows of one instrument, by its position in the settings."""
        own = self.rows.take(np.flatnonzero(self.rows.position == position))
        return FeatureRows(own.keys, own.values, self.columns)


def session_id(day: date, mode: Mode, bundle_sha256: str) -> str:
    """Return the name of a session that is traded once; doing it again replaces it."""
    return f"{day.isoformat()}-{mode}-{bundle_sha256[:12]}"


def batches(events: EventArray, size: int) -> Iterator[EventArray]:
    """Cut events into batches of ``size`` rows."""
    for start in range(0, len(events), size):
        yield events[start : start + size]


def run_session(
    root: DataRoot,
    settings: Settings,
    session: Session,
    events: EventArray,
    bundle: Bundle,
    mode: Mode,
    *,
    signals: Mapping[str, pl.DataFrame] | None = None,
    earlier: EventArray | None = None,
    account: Account | None = None,
    batch_events: int = BATCH_EVENTS,
    progress: Callable[[int, int], None] | None = None,
) -> SessionResult:
    """Trade a whole session on paper, as fast as it goes.

    Parameters
    ----------
    events : event array
        Of all instruments, ordered by ``ts_recv`` (``marketdata.events.merge_events``).
    bundle : Bundle
        The champion's, or in the shadow the best candidate's.
    mode : ``paper`` or ``shadow``
    signals : mapping of kind to signal frame, optional
        Slow signals of the session; absent kinds stay unknown.
    earlier : event array, optional
        Events of earlier sessions that warm the features.
    account : Account, optional
        What an earlier session left.
    progress : callable, optional
        Called with events done and events in all.

    Returns
    -------
    SessionResult
        Also on disk: journal and forecasts below ``root.journals``, rows of ``root.ledger_database``.

    Raises
    ------
    models.bundle.BundleError
        If the bundle was made for other features.
    """
    name = session_id(session.date, mode, bundle.sha256)
    carried = load_carried(root, settings, session.date)
    executor = PaperExecutor(settings, session, bundle, mode, signals or {}, account, carried=carried)
    facts = SessionFacts(
        name,
        session.date.isoformat(),
        mode,
        bundle.manifest.name,
        bundle.sha256,
        executor.config.fingerprint(),
        executor.predictor.assembler.fingerprint,
    )
    ledger = LedgerStore(root.ledger_database, {item.instrument_id: item.symbol for item in settings.instruments})
    files = SessionFiles(root.journals / name, facts)
    executor.sinks = Sinks(files, ledger, name)
    status = "failed"
    try:
        ledger.begin(
            LedgerSession(name, facts.day, mode, facts.model, bundle.sha256, session.open_ns, session.close_ns)
        )
        if earlier is not None:
            executor.warm(earlier)
        steps = []
        done = 0
        for batch in batches(events, batch_events):
            steps.append(executor.step(batch))
            done += len(batch)
            if progress is not None:
                progress(done, len(events))
        steps.append(executor.finish())
        status = "closed"
    finally:
        ledger.finish(name, status)
        ledger.close()
        files.finish(status, late_rows=executor.late_rows)
    journal = np.concatenate([step.journal for step in steps])
    forecasts = np.concatenate([step.forecasts for step in steps])
    summary = summarise_session(settings, session, journal, executor.forecast_seconds)
    summary |= {"mode": "champion" if mode == "paper" else "shadow", "model": facts.model}
    summary |= {"day": facts.day, "bundle_sha256": bundle.sha256}
    (files.folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return SessionResult(
        name,
        session,
        mode,
        facts.model,
        bundle.sha256,
        journal,
        forecasts,
        join_rows([step.rows for step in steps]),
        np.concatenate([step.x for step in steps]),
        executor.predictor.assembler.spec.columns,
        executor.engine.account(executor.state),
        executor.late_rows,
        summary,
        files.folder,
    )
