"""The label partition: one row a feature row, with the class, the move, when it is known, and the entry quotes."""

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.dataset import LABEL_MISSING, NEVER_KNOWN
from features.labels.forms import Outcome, Rows, outcome
from features.labels.quotes import Float64, Int64, QuotePath, quote_path
from features.labels.spec import LabelSpec, label_spec
from features.rows import FeatureRows
from marketdata.clock import Session
from marketdata.events import EventArray
from marketdata.instruments import Instrument
from marketdata.settings import LabelSettings, LatencySettings
from marketdata.taker_cost import TakerCost

LABEL_SCHEMA: Final = {
    "ts_recv": pl.Int64,
    "y": pl.Int8,
    "move_units": pl.Float64,
    "threshold_units": pl.Float64,
    "ts_known": pl.Int64,
    "arrive_ns": pl.Int64,
    "entry_bid_units": pl.Int64,
    "entry_ask_units": pl.Int64,
    "entry_bid_lots": pl.Int64,
    "entry_ask_lots": pl.Int64,
}
"""Columns of a label partition, one row a feature row, in the same order."""


def make_labels(
    spec: LabelSpec,
    rows: FeatureRows,
    events: EventArray,
    instrument: Instrument,
    session: Session,
    cost: TakerCost | None = None,
) -> pl.DataFrame:
    """Return the label of each feature row.

    Parameters
    ----------
    spec : LabelSpec
        Which form, and its numbers.
    rows : FeatureRows
        Decision rows of the instrument.
    events : event array
        The session's events of the instrument; further ones after it do no harm.
    session : Session
        A window that does not end inside it has no label. Where markets never close, give a longer one with its events.
    cost : TakerCost, optional
        What a taker pays there beside the spread; default: the instrument's own fee.

    Returns
    -------
    pl.DataFrame
        Columns of :data:`LABEL_SCHEMA`. ``y`` is -1 or 1 where ``move_units`` lies beyond ``threshold_units``, else 0:
        half the spread at the decision plus one side's fees (``cost``), that many times ``barrier_thresholds`` for the
        triple barrier, 0 for the next move. The label is missing (``LABEL_MISSING``, NaN, ``NEVER_KNOWN``) across a gap,
        halt or CLEAR, beyond the session, on a one-sided book, and where what settles it was not received. The entry
        quotes are the venue's own at the exchange time ``arrive_ns``, 0 lots where there were none. An instrument that is
        not traded has no labels.
    """
    ts_recv = rows.key("ts_recv")
    arrive = ts_recv + spec.to_venue_ns
    threshold = _threshold(rows, instrument.fees.taker_ppm, 0.0)
    if cost is not None:
        threshold = _threshold(rows, cost.taker_ppm, cost.trade_units)
    if not instrument.is_traded or len(events) == 0:
        found = Outcome(np.full(len(ts_recv), np.nan), np.full(len(ts_recv), NEVER_KNOWN))
        entry = np.zeros((len(ts_recv), 4), np.int64)
    else:
        path = quote_path(events, spec.max_gap_ns)
        found = outcome(spec, path, Rows(ts_recv, threshold), session)
        entry = _entry(path, arrive)
    if spec.form == "triple_barrier":
        threshold = spec.barrier_thresholds * threshold
    elif spec.form == "next_move":
        threshold = np.zeros(len(threshold))
    values = {
        "ts_recv": ts_recv.copy(),
        "y": label_classes(found.value, threshold),
        "move_units": found.value,
        "threshold_units": threshold,
        "ts_known": found.ts_known,
        "arrive_ns": arrive,
        "entry_bid_units": entry[:, 0].copy(),
        "entry_ask_units": entry[:, 2].copy(),
        "entry_bid_lots": entry[:, 1].copy(),
        "entry_ask_lots": entry[:, 3].copy(),
    }
    return pl.DataFrame(values, schema=LABEL_SCHEMA)


def executable_labels(
    rows: FeatureRows,
    events: EventArray,
    instrument: Instrument,
    label: LabelSettings,
    latency: LatencySettings,
    session: Session,
    cost: TakerCost | None = None,
) -> pl.DataFrame:
    """Return the executable label of each feature row, whatever form the settings choose; see :func:`make_labels`."""
    return make_labels(label_spec(label, latency, "executable"), rows, events, instrument, session, cost)


def label_classes(value: Float64, threshold: Float64) -> npt.NDArray[np.int8]:
    """Return -1, 0 or 1 by the threshold, ``LABEL_MISSING`` where the value is NaN."""
    beyond = np.where(np.abs(value) > threshold, np.sign(value), 0.0)
    return np.where(np.isnan(value), LABEL_MISSING, np.nan_to_num(beyond)).astype(np.int8)


def _threshold(rows: FeatureRows, taker_ppm: int, trade_units: float) -> Float64:
    """Return half the spread at each row plus one side's fees on its mid, price units."""
    bid, ask = rows.key("bid_units"), rows.key("ask_units")
    return np.asarray((ask - bid) / 2.0 + (ask + bid) / 2.0 * taker_ppm / 1e6 + trade_units, np.float64)


def _entry(path: QuotePath, arrive: Int64) -> Int64:
    slot = np.searchsorted(path.ts_event, arrive, side="right") - 1
    return np.where((slot >= 0)[:, None], path.best[slot], 0)
