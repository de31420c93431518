"""What a live session tells the bus: order flow of every sampled row, every forecast, every fill (W34).

Trading never waits for the bus: records leave through a bounded queue and a thread of their own. What does not fit, or what the
brokers do not take, is counted, said once, and shown in the heartbeat; the journal stays the truth.
"""

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from features.rows import KEY_COLUMNS
from features.spec import MIDDLE, span_name
from marketdata.feeds.bus_records import OrderFlow, Prediction, TradeRecord
from marketdata.feeds.kafka_bus import KafkaBus
from marketdata.feeds.kafka_client import BusError
from marketdata.settings import Settings
from models.bundle import Bundle
from models.forecast import ForecastArray
from serving.executor import Step
from serving.predictor import LiveRows
from trading.journal import FILL, Journal

LOG: Final = logging.getLogger(__name__)
QUEUE_STEPS: Final = 4_096
TOXICITY: Final = ("vpin", "toxicity")
"""Families of the feature rows that measure toxicity, the first that is there is published under its own name (W3)."""
_TS_RECV, _TS_EVENT, _SEQUENCE = (KEY_COLUMNS.index(name) for name in ("ts_recv", "ts_event", "sequence"))

Record = OrderFlow | Prediction | TradeRecord


class Holding(NamedTuple):
    """An open position and what it cost, in units x lots; short positions have both negative."""

    lots: int = 0
    cost: int = 0


def realise(held: Holding, side: int, price_units: int, lots: int) -> tuple[Holding, int]:
    """Return the holding after a fill and what the fill realised, in units x lots before fees.

    A fill against the position closes at its average cost; the closed part's cost is rounded down to whole units x lots, and
    what is left keeps the rest, so that the sum over a round trip is exact. What goes beyond the position opens a new one.

    Parameters
    ----------
    side : int
        1 bought, -1 sold.
    lots : int
        Above 0.
    """
    signed = side * lots
    if held.lots * signed >= 0:
        return Holding(held.lots + signed, held.cost + signed * price_units), 0
    closed = min(lots, abs(held.lots))
    cost = held.cost * closed // abs(held.lots)
    realised = -side * closed * price_units - cost
    left = Holding(held.lots + side * closed, held.cost - cost)
    if lots > closed:
        left = Holding(side * (lots - closed), side * (lots - closed) * price_units)
    return left, realised


class SessionRecords:
    """Makes the bus's records of one session: a fold over what the executor gave.

    Parameters
    ----------
    settings : Settings
    columns : tuple of str
        Names of the raw features in a row.
    fingerprint : str
        Of the features.
    bundle : Bundle
        Whose forecasts they are.
    session_id : str
        Under which order and fill ids are unique.
    """

    def __init__(
        self, settings: Settings, columns: tuple[str, ...], fingerprint: str, bundle: Bundle, session_id: str
    ) -> None:
        self._symbols = {item.instrument_id: item.symbol for item in settings.instruments}
        self._ids = np.array([item.instrument_id for item in settings.instruments])
        self._units = {item.instrument_id: item.unit_nanos for item in settings.instruments}
        self._fingerprint, self.bundle, self.session_id = fingerprint, bundle, session_id
        self._window_ns = settings.sampling.windows_ns[MIDDLE]
        self._ofi = _column(columns, f"ofi_best_{span_name(self._window_ns)}")
        self._spread = _column(columns, "spread_ticks")
        self._toxicity = next((k for family in TOXICITY for k, name in enumerate(columns) if _is(name, family)), None)
        self._toxicity_kind = columns[self._toxicity] if self._toxicity is not None else "none"
        self._held: dict[int, Holding] = {}

    def records(self, step: Step) -> Iterator[Record]:
        """Return the records of a step, each instrument's in order."""
        yield from self._flow(step.rows)
        yield from self._predictions(step.rows, step.forecasts)
        yield from self.trades(step.journal)

    def trades(self, rows: Journal) -> Iterator[TradeRecord]:
        """Return the records of a journal's fills; what comes of them moves the holdings on."""
        for fill in rows[rows["kind"] == FILL]:
            instrument, side, lots = (int(fill[name]) for name in ("instrument_id", "side", "size_lots"))
            price, fee = int(fill["price_units"]), int(fill["fee_nanos"])
            held, realised = realise(self._held.get(instrument, Holding()), side, price, lots)
            self._held[instrument] = held
            yield TradeRecord(
                symbol=self._symbols[instrument],
                ts_event=int(fill["venue_ns"]),
                ts_recv=int(fill["ts_ns"]),
                sequence=int(fill["sequence"]),
                session_id=self.session_id,
                order_id=int(fill["order_id"]),
                fill_id=int(fill["sequence"]),
                side=side,
                price_units=price,
                size_lots=lots,
                fee_nanos=fee,
                pnl_nanos=realised * self._units[instrument] - fee,
            )

    def _flow(self, rows: LiveRows) -> Iterator[OrderFlow]:
        for position, key, value in zip(rows.position, rows.keys, rows.values, strict=True):
            yield OrderFlow(
                symbol=self._symbols[int(self._ids[position])],
                ts_event=int(key[_TS_EVENT]),
                ts_recv=int(key[_TS_RECV]),
                sequence=int(key[_SEQUENCE]),
                window_ns=self._window_ns,
                ofi=_at(value, self._ofi),
                toxicity=_at(value, self._toxicity),
                toxicity_kind=self._toxicity_kind,
                spread_ticks=_at(value, self._spread),
            )

    def _predictions(self, rows: LiveRows, forecasts: ForecastArray) -> Iterator[Prediction]:
        ids = self._ids[rows.position]
        made = {(int(i), int(key[_TS_RECV])): key for i, key in zip(ids, rows.keys, strict=True)}
        for forecast in forecasts:
            instrument, ts_recv = int(forecast["instrument_id"]), int(forecast["ts_recv"])
            key = made[instrument, ts_recv]
            yield Prediction(
                symbol=self._symbols[instrument],
                ts_event=int(key[_TS_EVENT]),
                ts_recv=ts_recv,
                sequence=int(key[_SEQUENCE]),
                horizon_ns=int(self.bundle.manifest.label["horizon_ns"]),
                p_down=float(forecast["p_down"]),
                p_flat=float(forecast["p_flat"]),
                p_up=float(forecast["p_up"]),
                model_version=f"{self.bundle.manifest.name}@{self.bundle.sha256}",
                feature_fingerprint=self._fingerprint,
            )


class BusPublisher:
    """Hands records to the bus from a thread of its own.

    Parameters
    ----------
    bus : KafkaBus
    say : callable
        Gets a line when records begin to be lost.
    room : int
        Steps that may wait.
    """

    def __init__(self, bus: KafkaBus, say: Callable[[str], None] = LOG.info, room: int = QUEUE_STEPS) -> None:
        self._bus, self._say = bus, say
        self._waiting: queue.Queue[list[Record] | None] = queue.Queue(room)
        self._dropped = 0
        self._told = False
        self._thread = threading.Thread(target=self._run, name="bus-publisher", daemon=True)
        self._thread.start()

    def put(self, records: list[Record]) -> None:
        """Hand records over; never waits, what does not fit is counted as lost."""
        if not records:
            return
        try:
            self._waiting.put_nowait(records)
        except queue.Full:
            self._dropped += len(records)
            self._tell("the bus is slower than the session")

    def close(self, limit_s: float = 40.0) -> None:
        """Deliver what waits and end the thread."""
        self._waiting.put(None)
        self._thread.join(limit_s)

    def facts(self) -> dict[str, int]:
        """Return how many records the brokers have, and how many were lost."""
        return {"bus_delivered": self._bus.delivered, "bus_lost": self._dropped + self._bus.failed}

    def _run(self) -> None:
        while (records := self._waiting.get()) is not None:
            for record in records:
                self._publish(record)
        try:
            self._bus.flush()
        except BusError as error:
            self._tell(str(error))

    def _publish(self, record: Record) -> None:
        try:
            self._bus.publish(record)
        except BusError as error:  # an earlier record's failure: this one was not sent yet
            self._tell(str(error))
            try:
                self._bus.publish(record)
            except BusError:
                self._dropped += 1

    def _tell(self, why: str) -> None:
        if not self._told:
            self._told = True
            self._say(f"bus: records are lost ({why}); trading goes on, the journal has everything")


def _is(name: str, family: str) -> bool:
    return name == family or name.startswith(f"{family}_")


def _column(columns: tuple[str, ...], name: str) -> int | None:
    return columns.index(name) if name in columns else None


def _at(values: npt.NDArray[np.float64], column: int | None) -> float:
    return float(values[column]) if column is not None else float("nan")
