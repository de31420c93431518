"""The paper executor of one session: batches of events in; forecasts, orders, fills and a ledger out.

    batch → features → rows → join → forecast → written down → engine (decide, risk, venue) → journal → ledger

It is the night's own code fed with what has just arrived, so where a batch ends changes nothing, and replaying what it
wrote down gives the same fills. A checkpoint is a copy of two states.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from marketdata.clock import Session
from marketdata.events import EventArray, empty_events
from marketdata.settings import Settings
from models.bundle import Bundle
from models.forecast import ForecastArray
from serving.ledger_store import LedgerStore
from serving.predictor import FOREVER, LivePredictor, LiveRows, LiveState
from serving.session_files import SessionFiles
from trading.carried import CarriedOver
from trading.config import EngineConfig, engine_config
from trading.controls import FLATTEN, ControlArray, control, no_controls
from trading.engine import Account, Engine, RunState
from trading.heartbeats import heartbeats, merged
from trading.journal import CANCELLED_ROW, FILL, ORDER, REJECTED_ROW, Journal

Mode = Literal["paper", "shadow"]

BANNERS: Final = {
    "paper": "PAPER TRADING: simulated venue, no real order leaves this machine",
    "shadow": "SHADOW: best candidate, NOT a champion; simulated venue, its P&L counts for nothing",
}
"""What every page and terminal says about the mode (P19)."""


class Checkpoint(NamedTuple):
    """A copy of everything that a running executor needs to go on from here."""

    live: LiveState
    engine: RunState
    watermark_ns: int
    last_due_ns: int
    held: dict[int, int]
    open_orders: frozenset[int]


class Step(NamedTuple):
    """What a batch gave: rows and forecasts that left the predictor, journal rows that the engine wrote."""

    rows: LiveRows
    x: npt.NDArray[np.float32]
    forecasts: ForecastArray
    journal: Journal


@dataclass
class Sinks:
    """Where an executor writes: nowhere, to files, to the ledger, or both."""

    files: SessionFiles | None = None
    ledger: LedgerStore | None = None
    session_id: str = ""


@dataclass
class PaperExecutor:
    """One model trading one session through the simulated venue.

    Parameters
    ----------
    settings, session, bundle
        What is traded, when, by whom.
    mode : ``paper`` or ``shadow``
        Changes nothing that it does, only what it is called (R17).
    signals : mapping of kind to signal frame
        Slow signals of the session.
    account : Account, optional
        Equity, peak and drawdown state of an earlier session.
    carried : CarriedOver, optional
        Volumes and volatilities that earlier sessions left: fee tiers and sizes.
    sinks : Sinks
        Where it writes.

    Raises
    ------
    models.bundle.BundleError
        If the bundle was made for other features.
    """

    settings: Settings
    session: Session
    bundle: Bundle
    mode: Mode
    signals: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    account: Account | None = None
    sinks: Sinks = field(default_factory=Sinks)
    carried: CarriedOver | None = None

    def __post_init__(self) -> None:
        self.config: EngineConfig = engine_config(self.settings, self.session, carried=self.carried)
        self.engine = Engine(self.config)
        self.predictor = LivePredictor(self.settings, self.session, self.bundle)
        self._live = self.predictor.init(self.signals)
        self._engine = self.engine.init(self.account)
        self._watermark = 0
        self._last_due = 0
        self._held: dict[int, int] = {}
        self._open_orders: set[int] = set()
        self.forecast_seconds: list[tuple[int, float]] = []
        """(rows, wall seconds) of every step that forecast something."""

    @property
    def watermark_ns(self) -> int:
        """Receive time up to which everything was handed over."""
        return self._watermark

    @property
    def late_rows(self) -> int:
        """Market rows that reached the engine after their time; 0 as long as the feed keeps its bound."""
        return self._engine.late_rows

    @property
    def is_flat(self) -> bool:
        """Whether no position is held and no order is alive."""
        return not any(self._held.values()) and not self._open_orders

    @property
    def state(self) -> RunState:
        """The engine's state; :meth:`checkpoint` gives a copy."""
        return self._engine

    def positions(self) -> dict[str, int]:
        """Return the lots held of each instrument."""
        return {item.symbol: self._held.get(item.instrument_id, 0) for item in self.config.instruments}

    def equity(self) -> float:
        """Return the account's equity in the quote currency."""
        return self.engine.account(self._engine).equity_nanos / 1e9

    def warm(self, events: EventArray) -> None:
        """Fold events of earlier sessions into the features; they are not traded (R3)."""
        self._live = self.predictor.warm(self._live, events)

    def step(
        self,
        batch: EventArray,
        watermark_ns: int | None = None,
        controls: ControlArray | None = None,
        *,
        trade: bool = True,
        seen: bool = True,
    ) -> Step:
        """Take a batch of events and do everything that is certain after it.

        Parameters
        ----------
        batch : event array, shape (n,)
            Ordered by ``ts_recv``, not before the last watermark; any n.
        watermark_ns : int, optional
            No later batch holds an event received before this; default: the batch's last receive time.
        controls : control array, optional
            Due at or after the watermark before this step.
        trade : bool
            False: features and model go on, but the forecasts are neither written down nor given to the engine.
        seen : bool
            Whether the batch was seen when it happened; False: no heartbeats for it, where the settings expect them.

        Raises
        ------
        ValueError
            If the batch starts before the last watermark.
        """
        if len(batch) and int(batch["ts_recv"][0]) < self._watermark:
            raise ValueError("a batch starts before the feed's own watermark: rows would be lost or doubled")
        if watermark_ns is None:
            watermark_ns = int(batch["ts_recv"][-1]) if len(batch) else self._watermark
        watermark_ns = max(watermark_ns, self._watermark)
        started = time.perf_counter()
        self._live, made = self.predictor.step(self._live, batch, watermark_ns)
        if not trade:
            made = made._replace(forecasts=made.forecasts[:0])
        if len(made.forecasts):
            self.forecast_seconds.append((len(made.forecasts), time.perf_counter() - started))
            np.maximum(made.forecasts["due_ns"], self._last_due, out=made.forecasts["due_ns"])
            self._last_due = int(made.forecasts["due_ns"][-1])
        if self.sinks.files is not None:
            self.sinks.files.append_forecasts(made.forecasts)
        if seen and self.config.risk.dead_man_ns > 0:
            beats = heartbeats(self.session, self.config.risk.dead_man_ns, self._watermark, watermark_ns)
            controls = beats if controls is None else merged(controls, beats)
        self._engine, rows = self.engine.run(self._engine, batch, made.forecasts, controls, watermark_ns)
        self._watermark = watermark_ns
        if len(rows):
            self._follow(rows)
        if self.sinks.files is not None:
            self.sinks.files.append_rows(rows)
        if self.sinks.ledger is not None:
            self.sinks.ledger.append(self.sinks.session_id, rows)
        return Step(made.rows, made.x, made.forecasts, rows)

    def finish(self) -> Step:
        """Let everything happen that is still due, the session's close included."""
        return self.step(empty_events(0), FOREVER)

    def adopt(self, bundle: Bundle, history: EventArray, watermark_ns: int) -> None:
        """Let another bundle forecast from now on; the engine and what it holds stay.

        Parameters
        ----------
        history : event array
            The session's events up to ``watermark_ns``: the new model sees what it would have seen since the open.

        Raises
        ------
        models.bundle.BundleError
            If the bundle was made for other features.
        """
        predictor = LivePredictor(self.settings, self.session, bundle)
        live, _ = predictor.step(predictor.init(self.signals), history, watermark_ns)
        self.predictor, self._live, self.bundle = predictor, live, bundle

    def flatten(self, by: str, control_id: int = 1) -> ControlArray:
        """Return the control that closes every position from now on; hand it to the next :meth:`step`."""
        if self._watermark == FOREVER:
            return no_controls()
        return control(FLATTEN, max(self._watermark, self._engine.now_ns), by=by, control_id=control_id)

    def checkpoint(self) -> Checkpoint:
        """Return a copy of the state."""
        return Checkpoint(
            self.predictor.copy(self._live),
            self._engine.copy(),
            self._watermark,
            self._last_due,
            dict(self._held),
            frozenset(self._open_orders),
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint; it can be used again."""
        self._live = self.predictor.copy(checkpoint.live)
        self._engine = checkpoint.engine.copy()
        self._watermark, self._last_due = checkpoint.watermark_ns, checkpoint.last_due_ns
        self._held, self._open_orders = dict(checkpoint.held), set(checkpoint.open_orders)

    def _follow(self, rows: Journal) -> None:
        """Keep positions and open orders as the journal tells them."""
        self._open_orders.update(rows["order_id"][rows["kind"] == ORDER].tolist())
        fills = rows[rows["kind"] == FILL]
        self._held.update(zip(fills["instrument_id"].tolist(), fills["position_lots"].tolist(), strict=True))
        over = np.isin(rows["kind"], (CANCELLED_ROW, REJECTED_ROW)) | (
            (rows["kind"] == FILL) & (rows["leaves_lots"] == 0)
        )
        self._open_orders.difference_update(rows["order_id"][over].tolist())
