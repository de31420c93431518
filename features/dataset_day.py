"""One session's share of the dataset, and the dataset of a training window made of such shares."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

import numpy as np
import polars as pl

from features.assembler import RowAssembler
from features.dataset import Dataset
from features.rows import FeatureRows
from marketdata.clock import Session
from marketdata.settings import Settings

DAY_COLUMNS: Final = {
    "ts_recv": pl.Int64,
    "ts_event": pl.Int64,
    "ts_known": pl.Int64,
    "instrument_id": pl.Int16,
    "y": pl.Int8,
    "move_units": pl.Float64,
    "threshold_units": pl.Float64,
    "bid_units": pl.Int64,
    "ask_units": pl.Int64,
    "arrive_ns": pl.Int64,
    "entry_bid_units": pl.Int64,
    "entry_ask_units": pl.Int64,
    "entry_bid_lots": pl.Int64,
    "entry_ask_lots": pl.Int64,
}
"""Columns of a ``dataset_day`` frame before the features, which follow as float32."""

_FROM_LABELS: Final = (
    *("y", "move_units", "threshold_units", "ts_known", "arrive_ns"),
    *("entry_bid_units", "entry_ask_units", "entry_bid_lots", "entry_ask_lots"),
)


class TooFewInstruments(ValueError):
    """Fewer instruments have rows than a training day needs; the message names the missing ones and why."""


def build_dataset_day(
    day: date,
    settings: Settings,
    rows: Mapping[str, FeatureRows],
    labels: Mapping[str, pl.DataFrame],
    signals: Mapping[str, pl.DataFrame],
    missing: Mapping[str, str],
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Join one session's rows of all instruments with labels, peers and slow signals, each as known at the row.

    Parameters
    ----------
    rows, labels : mapping of symbol to FeatureRows and to label frame
        Label frames row by row as the feature rows.
    signals : mapping of kind to signal frame
        Kinds that are absent stay NaN in their columns.
    missing : mapping of symbol to reason
        Instruments without a published partition.

    Returns
    -------
    frame : pl.DataFrame
        :data:`DAY_COLUMNS` and the features as float32, ordered by (``ts_recv``, ``instrument_id``). Instruments that
        are not traded enter other instruments' rows but have none of their own. An instrument with more rows than
        ``sampling.max_rows`` is thinned evenly, after the join.
    manifest : dict
        JSON-able: rows and labels by instrument, missing instruments with reasons, fingerprint.

    Raises
    ------
    TooFewInstruments
        If fewer than ``training.min_instruments`` instruments have rows.
    ValueError
        If labels and rows do not belong together.
    """
    present = [item for item in settings.instruments if item.symbol in rows and len(rows[item.symbol].keys)]
    if len(present) < settings.training.min_instruments:
        reasons = "; ".join(f"{symbol}: {reason}" for symbol, reason in sorted(missing.items())) or "no rows"
        raise TooFewInstruments(
            f"{day}: {len(present)} of {len(settings.instruments)} instruments have rows, "
            f"{settings.training.min_instruments} are needed ({reasons})"
        )
    assembler = RowAssembler(settings)
    parts = [_instrument_part(rows[item.symbol], labels, item.symbol) for item in present]
    ids = {item.symbol: item.instrument_id for item in settings.instruments}
    position = {item.symbol: k for k, item in enumerate(settings.instruments)}
    counts = [part.height for part in parts]
    owner = np.repeat([position[item.symbol] for item in present], counts)
    owner_id = np.repeat([ids[item.symbol] for item in present], counts)
    table = pl.concat(parts).with_columns(pl.Series("instrument_id", owner_id, pl.Int16))
    ts_recv = table.get_column("ts_recv").to_numpy()
    order = np.lexsort((np.arange(len(ts_recv)), owner_id, ts_recv))
    values = np.concatenate([rows[item.symbol].values for item in present])
    state = assembler.init()
    for kind in assembler.kinds:
        if kind in signals:
            state = assembler.update_signals(state, kind, signals[kind])
    x = assembler.assemble(state, owner[order], ts_recv[order], values[order])
    kept = _kept_rows(owner[order], settings)
    features = {name: np.ascontiguousarray(x[kept, k]) for k, name in enumerate(assembler.columns)}
    frame = table.select(list(DAY_COLUMNS))[order[kept]].with_columns(pl.DataFrame(features))
    manifest = {
        "day": day.isoformat(),
        "fingerprint": assembler.fingerprint,
        "features": len(assembler.columns),
        "rows": {item.symbol: int((owner[order[kept]] == position[item.symbol]).sum()) for item in present},
        "labelled": int(frame.get_column("move_units").is_not_nan().sum()),
        "missing": dict(sorted(missing.items())),
        "signal_rows": {kind: signals[kind].height for kind in assembler.kinds if kind in signals},
        "signals_absent": [kind for kind in assembler.kinds if kind not in signals],
    }
    return frame, manifest


def _instrument_part(rows: FeatureRows, labels: Mapping[str, pl.DataFrame], symbol: str) -> pl.DataFrame:
    """Return keys and labels of one instrument side by side."""
    if symbol not in labels or labels[symbol].height != len(rows.keys):
        raise ValueError(f"{symbol}: labels and feature rows differ in number")
    label = labels[symbol]
    if not np.array_equal(label.get_column("ts_recv").to_numpy(), rows.key("ts_recv")):
        raise ValueError(f"{symbol}: labels and feature rows differ in ts_recv")
    keys = {name: rows.key(name).copy() for name in ("ts_recv", "ts_event", "bid_units", "ask_units")}
    return pl.DataFrame(keys).with_columns(label.select(_FROM_LABELS))


def _kept_rows(owner: np.ndarray[Any, np.dtype[np.int64]], settings: Settings) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Return the positions of the rows that stay: of traded instruments, every k-th where there are too many."""
    keep = np.zeros(len(owner), np.bool_)
    for k, item in enumerate(settings.instruments):
        own = np.flatnonzero(owner == k)
        if item.is_traded and len(own):
            keep[own[:: -(-len(own) // settings.sampling.max_rows)]] = True
    return np.flatnonzero(keep)


def dataset_from_frames(frames: Sequence[pl.DataFrame], settings: Settings, sessions: Sequence[Session]) -> Dataset:
    """Return the dataset of a training window.

    Parameters
    ----------
    frames : sequence of pl.DataFrame
        ``dataset_day`` frames, one a session, in order.
    sessions : sequence of Session
        Their sessions.

    Raises
    ------
    ValueError
        If there are none, their numbers differ, or a frame was made with other features.
    """
    assembler = RowAssembler(settings)
    if not frames or len(frames) != len(sessions):
        raise ValueError(f"{len(frames)} dataset day(s) for {len(sessions)} session(s)")
    expected = [*DAY_COLUMNS, *assembler.columns]
    for frame, session in zip(frames, sessions, strict=True):
        if frame.columns != expected:
            odd = sorted(set(frame.columns) ^ set(expected)) or ["their order"]
            raise ValueError(
                f"dataset day {session.date} has other columns than these settings make: {', '.join(odd[:5])}"
            )
    table = pl.concat(frames)
    index = np.repeat(np.arange(len(frames), dtype=np.int32), [frame.height for frame in frames])
    arrays = {name: table.get_column(name).to_numpy().copy() for name in DAY_COLUMNS}
    return Dataset(
        columns=assembler.columns,
        sessions=tuple(sessions),
        instruments=settings.instruments,
        memory_ns=assembler.memory_ns,
        horizon_ns=settings.label.horizon_ns,
        fingerprint=assembler.fingerprint,
        x=np.ascontiguousarray(table.select(assembler.columns).to_numpy()),
        session=index,
        **arrays,
    )
