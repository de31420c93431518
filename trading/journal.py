"""The journal: everything the agent saw that mattered, decided, sent and received, one fixed-size row each.

Rows are in the order in which things happened to the agent; ``sequence`` counts them from the session's start. A fill stands
where the agent learned of it, with the venue's own time beside it. Replaying needs nothing else: forecasts and controls are
rows too, quantised as they were traded.
"""

import os
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from models.forecast import FORECAST_DTYPE, ForecastArray
from trading.controls import CONTROL_DTYPE, CONTROL_NAMES, ControlArray
from trading.orders import STATE_NAMES, TIF_NAMES

FORECAST: Final = 1
"""A forecast arrived; ``reason`` is what the strategy made of it (see :data:`OUTCOME_NAMES`)."""
ORDER: Final = 2
"""An order was sent; ``venue_ns`` is when it reaches the venue, ``flag`` bit 1 reduce-only, bit 2 sized at the Kelly cap,
bit 4 made smaller by the risk gate, and then ``reason`` is the rule that allowed the least."""
RISK_REJECT: Final = 3
"""The risk gate refused an order; ``reason`` says why (see :data:`REASON_NAMES`)."""
CANCEL: Final = 4
"""A cancel was sent."""
ACKNOWLEDGED: Final = 5
FILL: Final = 6
"""``price_units`` and ``size_lots`` of the fill, ``fee_nanos`` its fee, ``flag`` 1 maker, 0 taker."""
CANCELLED_ROW: Final = 7
REJECTED_ROW: Final = 8
CANCEL_REJECTED: Final = 9
RISK: Final = 10
"""The drawdown state changed to ``state``, a stop closes a position, or heartbeats stay away; ``reason`` says why."""
CONTROL: Final = 11
"""A control was obeyed; ``reason`` is its kind, ``size_lots`` its value, ``order_id`` its ``control_id``."""
MARK: Final = 12
"""Account on the clock: ``equity_nanos``, ``cash_nanos`` (all instruments), ``fee_nanos`` paid so far."""
MARK_INSTRUMENT: Final = 13
"""One instrument on the clock: ``cash_nanos``, ``equity_nanos``, ``fee_nanos``, ``position_lots``."""
SESSION: Final = 14
"""``reason`` 1 open, 2 last minutes begin, 3 close."""
MODIFY: Final = 15
"""A change was sent: ``price_units`` and ``size_lots`` (the whole size) asked for, ``venue_ns`` when it reaches the venue."""
MODIFIED_ROW: Final = 16
"""The order has the new price; ``leaves_lots`` are left of it."""
MODIFY_REJECTED: Final = 17
FUNDING_ROW: Final = 18
"""Funding was paid: ``fee_nanos`` (negative: received), ``price_units`` the mark, ``size_lots`` the rate in 1e-9."""

KIND_NAMES: Final = (
    "",
    "forecast",
    "order",
    "risk_reject",
    "cancel",
    "acknowledged",
    "fill",
    "cancelled",
    "rejected",
    "cancel_rejected",
    "risk",
    "control",
    "mark",
    "mark_instrument",
    "session",
    "modify",
    "modified",
    "modify_rejected",
    "funding",
)

R_KILLED: Final = 1
R_PAUSED: Final = 2
R_HALTED: Final = 3
R_DAILY_LOSS: Final = 4
R_ORDER_SIZE: Final = 5
R_POSITION: Final = 6
R_RATE: Final = 7
R_COLLAR: Final = 8
R_NO_QUOTE: Final = 9
R_SELF_CROSS: Final = 10
R_CLOSING: Final = 11
R_DRAWDOWN: Final = 12
R_RECOVERED: Final = 13
R_REARMED: Final = 14
R_VENUE_HALTED: Final = 15
R_VENUE_CLOSED: Final = 16
R_TAKER_ONLY: Final = 17
R_WOULD_CROSS: Final = 18
R_UNKNOWN_ORDER: Final = 19
R_IOC_REST: Final = 20
R_ASKED: Final = 21
R_SCALED_TO_ZERO: Final = 22
R_FLATTENING: Final = 23
R_NOTIONAL: Final = 24
R_MARGIN: Final = 25
R_RESERVE: Final = 26
R_CONFIDENCE: Final = 27
R_ANOMALY: Final = 28
R_STOP_LOSS: Final = 29
R_TRAILING_STOP: Final = 30
R_STOPPED: Final = 31
R_SIZE_SCALE: Final = 32
R_SILENT: Final = 33
R_NOT_ALL: Final = 34
R_VENUE_DOWN: Final = 35

REASON_NAMES: Final = (
    "",
    "killed",
    "paused",
    "halted",
    "daily_loss",
    "order_size",
    "position_limit",
    "order_rate",
    "price_collar",
    "no_quote",
    "self_cross",
    "session_ending",
    "drawdown",
    "recovered",
    "rearmed",
    "venue_halted",
    "venue_closed",
    "taker_only_venue",
    "would_cross",
    "unknown_order",
    "nothing_left_to_take",
    "asked",
    "scaled_to_zero",
    "flattening",
    "notional_limit",
    "margin",
    "cash_reserve",
    "low_confidence",
    "anomaly",
    "stop_loss",
    "trailing_stop",
    "stopped_out",
    "size_scale",
    "no_heartbeat",
    "not_all_there",
    "venue_down",
)

OUTCOME_NAMES: Final = (
    "none",
    "no_edge",
    "entered",
    "holding",
    "extended",
    "exit_sent",
    "in_flight",
    "no_quote",
    "too_late_to_enter",
    "no_size",
)
"""What a strategy made of a forecast."""

JOURNAL_DTYPE: Final = np.dtype(
    [
        ("ts_ns", "i8"),
        ("venue_ns", "i8"),
        ("sequence", "i8"),
        ("order_id", "i8"),
        ("price_units", "i8"),
        ("size_lots", "i8"),
        ("leaves_lots", "i8"),
        ("position_lots", "i8"),
        ("cash_nanos", "i8"),
        ("fee_nanos", "i8"),
        ("equity_nanos", "i8"),
        ("bid_units", "i8"),
        ("ask_units", "i8"),
        ("p_down", "f4"),
        ("p_flat", "f4"),
        ("p_up", "f4"),
        ("edge_units", "f4"),
        ("instrument_id", "i2"),
        ("kind", "u1"),
        ("side", "i1"),
        ("state", "u1"),
        ("reason", "u1"),
        ("tif", "u1"),
        ("flag", "u1"),
    ],
    align=True,
)
"""One row, 128 bytes. ``venue_ns``: of a forecast, ``ts_recv`` of its row; of an order or cancel, when it reaches the venue; of
an answer, when the venue gave it. ``bid_units`` and ``ask_units``: best quotes as the agent knew them."""

Journal = npt.NDArray[np.void]


def save_journal(path: Path, rows: Journal) -> None:
    """Write journal rows as ``.npz``, whole or not at all; equal rows give equal bytes."""
    temporary = path.with_name(path.name + ".tmp.npz")
    np.savez(temporary, allow_pickle=False, **{"journal": rows})
    os.replace(temporary, path)


def load_journal(path: Path) -> Journal:
    """Return the rows of a file written by :func:`save_journal`.

    Raises
    ------
    ValueError
        If the file holds another form of row.
    """
    with np.load(path, allow_pickle=False) as archive:
        rows = archive["journal"]
    if rows.dtype != JOURNAL_DTYPE:
        raise ValueError(f"{path}: not a journal of this version")
    return rows


def journal_forecasts(rows: Journal) -> ForecastArray:
    """Return the forecasts as they reached the agent, ready to be replayed."""
    seen = rows[rows["kind"] == FORECAST]
    out = np.zeros(len(seen), FORECAST_DTYPE)
    out["ts_recv"], out["due_ns"] = seen["venue_ns"], seen["ts_ns"]
    for name in ("p_down", "p_flat", "p_up", "edge_units", "instrument_id"):
        out[name] = seen[name]
    return out


def journal_controls(rows: Journal, known: ControlArray) -> ControlArray:
    """Return the controls that were obeyed, ready to be replayed, but for those ``known`` to the engine (its calendar's)."""
    seen = rows[rows["kind"] == CONTROL]
    told = {(int(c["due_ns"]), int(c["kind"]), int(c["value"]), int(c["control_id"])) for c in known}
    out = np.zeros(len(seen), CONTROL_DTYPE)
    out["due_ns"], out["kind"], out["value"] = seen["ts_ns"], seen["reason"], seen["size_lots"]
    out["control_id"], out["instrument_id"], out["by"] = seen["order_id"], seen["instrument_id"], b"journal"
    fresh = [(int(c["due_ns"]), int(c["kind"]), int(c["value"]), int(c["control_id"])) not in told for c in out]
    return out[np.array(fresh, np.bool_)]


def journal_frame(rows: Journal) -> pl.DataFrame:
    """Return every row as a polars frame with readable ``kind``, ``reason`` and ``state``."""
    columns = {name: np.ascontiguousarray(rows[name]) for name in JOURNAL_DTYPE.names or ()}
    frame = pl.DataFrame(columns)
    reasons = [_reason(int(k), int(r)) for k, r in zip(rows["kind"], rows["reason"], strict=True)]
    return frame.with_columns(
        pl.Series("kind", [KIND_NAMES[k] for k in rows["kind"]], dtype=pl.String),
        pl.Series("reason", reasons, dtype=pl.String),
        pl.Series("tif", [TIF_NAMES[k] for k in rows["tif"]], dtype=pl.String),
    )


def _reason(kind: int, reason: int) -> str:
    if kind == FORECAST:
        return OUTCOME_NAMES[reason]
    if kind == SESSION:
        return ("", "open", "ending", "close")[reason]
    if kind == CONTROL:
        return CONTROL_NAMES[reason]
    return REASON_NAMES[reason]


def orders_frame(rows: Journal) -> pl.DataFrame:
    """Return one row an order: what was sent, and how it ended."""
    sent = rows[rows["kind"] == ORDER]
    answers = rows[np.isin(rows["kind"], (ACKNOWLEDGED, FILL, CANCELLED_ROW, REJECTED_ROW))]
    last_state = dict(zip(answers["order_id"].tolist(), answers["state"].tolist(), strict=True))
    last_reason = dict(zip(answers["order_id"].tolist(), answers["reason"].tolist(), strict=True))
    fills = rows[rows["kind"] == FILL]
    filled: dict[int, int] = {}
    for order_id, lots in zip(fills["order_id"].tolist(), fills["size_lots"].tolist(), strict=True):
        filled[order_id] = filled.get(order_id, 0) + lots
    ids = sent["order_id"].tolist()
    return pl.DataFrame(
        {
            "ts_ns": np.ascontiguousarray(sent["ts_ns"]),
            "arrive_ns": np.ascontiguousarray(sent["venue_ns"]),
            "order_id": np.ascontiguousarray(sent["order_id"]),
            "instrument_id": np.ascontiguousarray(sent["instrument_id"]),
            "side": np.ascontiguousarray(sent["side"]),
            "tif": pl.Series([TIF_NAMES[k] for k in sent["tif"]], dtype=pl.String),
            "price_units": np.ascontiguousarray(sent["price_units"]),
            "size_lots": np.ascontiguousarray(sent["size_lots"]),
            "filled_lots": pl.Series([filled.get(k, 0) for k in ids], dtype=pl.Int64),
            "state": pl.Series([STATE_NAMES[last_state.get(k, 1)] for k in ids], dtype=pl.String),
            "reason": pl.Series([REASON_NAMES[last_reason.get(k, 0)] for k in ids], dtype=pl.String),
            "bid_units": np.ascontiguousarray(sent["bid_units"]),
            "ask_units": np.ascontiguousarray(sent["ask_units"]),
            "reduce_only": (sent["flag"] & 1) > 0,
            "at_kelly_cap": (sent["flag"] & 2) > 0,
        }
    )


def fills_frame(rows: Journal) -> pl.DataFrame:
    """Return one row a fill: both clocks, price, size, fee, position after it."""
    fills = rows[rows["kind"] == FILL]
    names = ("ts_ns", "venue_ns", "order_id", "instrument_id", "side", "price_units", "size_lots", "fee_nanos")
    columns = {name: np.ascontiguousarray(fills[name]) for name in (*names, "position_lots")}
    return pl.DataFrame({**columns, "maker": fills["flag"] == 1})


def equity_frame(rows: Journal) -> pl.DataFrame:
    """Return the account on the clock: ``ts_ns``, ``equity_nanos``, ``cash_nanos``, ``fee_nanos``."""
    marks = rows[rows["kind"] == MARK]
    return pl.DataFrame(
        {name: np.ascontiguousarray(marks[name]) for name in ("ts_ns", "equity_nanos", "cash_nanos", "fee_nanos")}
    )


def risk_frame(rows: Journal) -> pl.DataFrame:
    """Return what the risk gate did: refusals, drawdown steps and controls."""
    return journal_frame(rows[np.isin(rows["kind"], (RISK_REJECT, RISK, CONTROL))])


def round_trips_frame(rows: Journal, unit_nanos: dict[int, int]) -> pl.DataFrame:
    """Return one row for each time a position went from flat to flat (or through it), per instrument.

    Parameters
    ----------
    unit_nanos : dict of int to int
        Value of one price unit of one lot by instrument id.

    Returns
    -------
    pl.DataFrame
        ``instrument_id, side, size_lots`` (largest held), ``entry_ns, exit_ns`` (venue time), ``entry_units, exit_units``
        (mean prices), ``gross_nanos, fee_nanos, net_nanos``. A position still open at the end is not a round trip. A fill
        that turns a position is cut in two at flat, its fee in proportion, the odd nano with the closing part.
    """
    out: list[tuple[int, int, int, int, int, float, float, int, int, int]] = []
    fills = rows[rows["kind"] == FILL]
    for instrument in np.unique(fills["instrument_id"]).tolist():
        unit = unit_nanos[instrument]
        trip = _Trip()
        for fill in fills[fills["instrument_id"] == instrument]:
            side, price, lots = int(fill["side"]), int(fill["price_units"]), int(fill["size_lots"])
            fee, at = int(fill["fee_nanos"]), int(fill["venue_ns"])
            closing = min(lots, abs(trip.position)) if trip.position * side < 0 else 0
            if closing:
                opening_fee = fee * (lots - closing) // lots
                trip.close(closing, price, fee - opening_fee)
                if trip.position == 0:
                    out.append(trip.row(instrument, unit, at))
                    trip = _Trip()
                fee, lots = opening_fee, lots - closing
            if lots:
                trip.open(side, lots, price, fee, at)
    names = ("instrument_id", "side", "size_lots", "entry_ns", "exit_ns", "entry_units", "exit_units")
    schema = dict.fromkeys(names, pl.Int64) | dict.fromkeys(("gross_nanos", "fee_nanos", "net_nanos"), pl.Int64)
    schema |= {"entry_units": pl.Float64, "exit_units": pl.Float64}  # type: ignore[dict-item]  # mixed dtypes
    return pl.DataFrame(out, schema=schema, orient="row").sort("exit_ns", maintain_order=True)


class _Trip:
    """A position from flat to flat while it is being read from fills."""

    __slots__ = ("bought", "closed", "entry_ns", "fee", "largest", "opened", "position", "side", "sold")

    def __init__(self) -> None:
        self.position = self.largest = self.opened = self.closed = self.fee = self.entry_ns = 0
        self.bought = self.sold = self.side = 0

    def open(self, side: int, lots: int, price: int, fee: int, at: int) -> None:
        if self.position == 0:
            self.entry_ns, self.side = at, side
        self.position += side * lots
        self.opened += lots
        self.bought += price * lots
        self.fee += fee
        self.largest = max(self.largest, abs(self.position))

    def close(self, lots: int, price: int, fee: int) -> None:
        self.closed += lots
        self.sold += price * lots
        self.fee += fee
        self.position -= self.side * lots

    def row(self, instrument: int, unit: int, at: int) -> tuple[int, int, int, int, int, float, float, int, int, int]:
        gross = self.side * (self.sold - self.bought) * unit
        entry, leave = self.bought / self.opened, self.sold / self.closed
        return instrument, self.side, self.largest, self.entry_ns, at, entry, leave, gross, self.fee, gross - self.fee
