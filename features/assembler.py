"""One row of the dataset: raw features, what the peers did, and the slow signals as known at that moment.

The night and the executor build rows with this one fold. Rows come in the order of (``ts_recv``, ``instrument_id``); a
peer's row of the same ``ts_recv`` is seen if its instrument comes first. A live caller therefore holds the rows of the
newest ``ts_recv`` back until a later event has come, and hands them over in that order.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from numba import njit

from features import lead_lag
from features.families import has_lead_lag
from features.lead_lag import LeadLagState, empty_lead_lag, take_sample, write_lead_lag
from features.pipeline import feature_spec
from features.rows import KEY_COLUMNS
from features.signals.columns import SIGNAL_COLUMNS, SLOW_KINDS
from features.spec import MIDDLE, FeatureSpec, span_name
from features.state import NEVER
from marketdata.settings import Settings

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

TS_RECV: Final = KEY_COLUMNS.index("ts_recv")


class AssemblerState(NamedTuple):
    """State of the fold over the rows of I instruments, with S slow signals and K signal rows received.

    Attributes
    ----------
    peer_ts : int64 array, shape (I,)
        Receive time of each instrument's latest row.
    peer : float64 array, shape (I, 4)
        Mid return and best-level order flow imbalance of that row over the short and the middle window.
    slow : float64 array, shape (I, S)
        Slow signals in force.
    signal_ts, signal_owner, signal_kind : int64 arrays, shape (K,)
        When each signal row is known, its instrument, and its kind.
    signal_values : float64 array, shape (K, S)
        Its values, in the columns of its kind.
    cursor : int64 array, shape (1,)
        Signal rows in force so far.
    lead_lag : LeadLagState
        Of the family ``lead_lag``; without rows where it is off.
    """

    peer_ts: Int64
    peer: Float64
    slow: Float64
    signal_ts: Int64
    signal_owner: Int64
    signal_kind: Int64
    signal_values: Float64
    cursor: Int64
    lead_lag: LeadLagState


@njit(cache=True)
def _assemble(
    state: AssemblerState,
    sources: Int64,
    kind_ends: Int64,
    max_age: int,
    window: int,
    instrument: Int64,
    ts_recv: Int64,
    values: Float64,
    out: Float32,
) -> None:
    raw = values.shape[1]
    has_lead_lag = len(state.lead_lag.taken) > 0
    slow = raw + 8 + (lead_lag.COLUMNS if has_lead_lag else 0)
    moves = state.peer[:, 1]
    flows = state.peer[:, 3]
    for n in range(len(ts_recv)):
        now = ts_recv[n]
        own = instrument[n]
        while state.cursor[0] < len(state.signal_ts) and state.signal_ts[state.cursor[0]] <= now:
            s = state.cursor[0]
            kind = state.signal_kind[s]
            for c in range(kind_ends[kind], kind_ends[kind + 1]):
                state.slow[state.signal_owner[s], c] = state.signal_values[s, c]
            state.cursor[0] += 1
        for c in range(raw):
            out[n, c] = values[n, c]
        for c in range(4):
            state.peer[own, c] = values[n, sources[c]]
        state.peer_ts[own] = now
        for c in range(4):
            total = 0.0
            count = 0
            extreme = 0.0
            for i in range(len(state.peer_ts)):
                value = state.peer[i, c]
                if i == own or state.peer_ts[i] < now - max_age or np.isnan(value):
                    continue
                total += value
                count += 1
                if abs(value) > abs(extreme):
                    extreme = value
            out[n, raw + c] = total / count if count > 0 else np.nan
            if c < 2:
                out[n, raw + 4 + c] = extreme if count > 0 else np.nan
                out[n, raw + 6 + c] = state.peer[own, c] - total / count if count > 0 else np.nan
        if has_lead_lag:
            take_sample(state.lead_lag, own, now, window, state.peer_ts, moves, flows)
            write_lead_lag(state.lead_lag, own, now, window, state.peer_ts, moves, flows, out[n], raw + 8)
        for c in range(state.slow.shape[1]):
            out[n, slow + c] = state.slow[own, c]


@dataclass(frozen=True)
class RowAssembler:
    """Builds the x vector of a row, the same at night and live: a frozen description with ``init`` and ``step``.

    Cross features name no instrument, because models are pooled: means over the peers, the peer that moved most, and
    the own return minus the peers' mean. A peer whose latest row is older than the longest window says nothing; without
    any the cross features are NaN. A slow signal holds from its ``ts_known`` until the next of its kind and instrument.
    """

    settings: Settings

    @cached_property
    def spec(self) -> FeatureSpec:
        """Specification of the raw features."""
        return feature_spec(self.settings)

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of slow signals of this data root."""
        return SLOW_KINDS[self.settings.source]

    @cached_property
    def cross_columns(self) -> tuple[str, ...]:
        """Names of the features made of other instruments' rows."""
        windows = self.settings.sampling.windows_ns
        short, middle = (span_name(windows[0]), span_name(windows[MIDDLE]))
        families = ("peer_return", "peer_ofi", "peer_extreme", "relative_return")
        return tuple(f"{family}_{span}" for family in families for span in (short, middle)) + self._lead_lag_columns

    @cached_property
    def _lead_lag_columns(self) -> tuple[str, ...]:
        if not has_lead_lag(self.settings.sampling.families):
            return ()
        return tuple(entry.name for entry in lead_lag.entries(self.settings.sampling))

    @cached_property
    def signal_columns(self) -> tuple[str, ...]:
        """Names of the slow signals."""
        return tuple(name for kind in self.kinds for name in SIGNAL_COLUMNS[kind])

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns of x: raw, cross, slow."""
        return self.spec.columns + self.cross_columns + self.signal_columns

    @cached_property
    def memory_ns(self) -> int:
        """How far back any column but the slow signals reaches: a peer's row may be one longest window old."""
        peers = self.spec.memory_ns + self.settings.sampling.windows_ns[-1]
        return max(peers, lead_lag.lead_lag_memory_ns(self.settings.sampling)) if self._lead_lag_columns else peers

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of what every column of x means."""
        return hashlib.sha256(repr((self.spec.fingerprint, self.columns)).encode()).hexdigest()

    @cached_property
    def _index(self) -> dict[str, int]:
        return {item.symbol: k for k, item in enumerate(self.settings.instruments)}

    @cached_property
    def _sources(self) -> Int64:
        windows = self.settings.sampling.windows_ns
        spans = (span_name(windows[0]), span_name(windows[MIDDLE]))
        names = [f"{family}_{span}" for family in ("mid_return_bps", "ofi_best") for span in spans]
        return np.array([self.spec.columns.index(name) for name in names], np.int64)

    @cached_property
    def _kind_ends(self) -> Int64:
        return np.cumsum([0, *(len(SIGNAL_COLUMNS[kind]) for kind in self.kinds)]).astype(np.int64)

    def init(self) -> AssemblerState:
        """Return the state before the first row, no signal known."""
        instruments, signals = len(self.settings.instruments), len(self.signal_columns)
        return AssemblerState(
            peer_ts=np.full(instruments, NEVER),
            peer=np.full((instruments, 4), np.nan),
            slow=np.full((instruments, signals), np.nan),
            signal_ts=np.empty(0, np.int64),
            signal_owner=np.empty(0, np.int64),
            signal_kind=np.empty(0, np.int64),
            signal_values=np.empty((0, signals), np.float64),
            cursor=np.zeros(1, np.int64),
            lead_lag=empty_lead_lag(instruments if self._lead_lag_columns else 0),
        )

    def update_signals(self, state: AssemblerState, kind: str, frame: pl.DataFrame) -> AssemblerState:
        """Return the state with further signal rows; each takes effect at the first row at or after its ``ts_known``.

        Parameters
        ----------
        kind : str
            ``options``, ``social`` or ``onchain``.
        frame : pl.DataFrame
            ``ts_known``, ``symbol`` and the kind's columns; symbols that the data root does not have are left out.

        Raises
        ------
        ValueError
            If the data root's source has no such kind.
        """
        if kind not in self.kinds:
            raise ValueError(f"source {self.settings.source} has no {kind} signals")
        position = self.kinds.index(kind)
        known = frame.filter(pl.col("symbol").is_in(list(self._index)))
        values = np.full((known.height, len(self.signal_columns)), np.nan)
        first, last = self._kind_ends[position : position + 2]
        values[:, first:last] = known.select(SIGNAL_COLUMNS[kind]).cast(pl.Float64).fill_null(np.nan).to_numpy()
        waiting = slice(int(state.cursor[0]), None)
        ts = np.concatenate([state.signal_ts[waiting], known.get_column("ts_known").to_numpy()])
        owner = [self._index[symbol] for symbol in known.get_column("symbol")]
        owners = np.concatenate([state.signal_owner[waiting], np.array(owner, np.int64)])
        kinds = np.concatenate([state.signal_kind[waiting], np.full(known.height, position, np.int64)])
        order = np.lexsort((kinds, owners, ts))
        return state._replace(
            signal_ts=ts[order],
            signal_owner=owners[order],
            signal_kind=kinds[order],
            signal_values=np.concatenate([state.signal_values[waiting], values])[order],
            cursor=np.zeros(1, np.int64),
        )

    def step(self, state: AssemblerState, symbol: str, key_row: Int64, values: Float64) -> Float32:
        """Fold one row in, changing the state in place, and return its x.

        Parameters
        ----------
        key_row : int64 array, shape (7,)
            Keys of the row, see ``features.rows.KEY_COLUMNS``.
        values : float64 array, shape (F,)
            Its raw features.

        Returns
        -------
        float32 array, shape (F_total,)
            In the order of :attr:`columns`; NaN means not known.
        """
        instrument = np.array([self._index[symbol]], np.int64)
        return self.assemble(state, instrument, key_row[TS_RECV : TS_RECV + 1], values[None, :])[0]

    def assemble(self, state: AssemblerState, instrument: Int64, ts_recv: Int64, values: Float64) -> Float32:
        """Fold many rows in, in their order, and return their x, float32 of shape (n, F_total).

        ``instrument`` is the position in ``settings.instruments``.
        """
        out = np.empty((len(ts_recv), len(self.columns)), np.float32)
        max_age, window = self.settings.sampling.windows_ns[-1], self.settings.sampling.windows_ns[MIDDLE]
        keys = (np.ascontiguousarray(instrument, np.int64), np.ascontiguousarray(ts_recv, np.int64))
        rows = np.array(values, np.float64, order="C")
        _assemble(state, self._sources, self._kind_ends, max_age, window, *keys, rows, out)
        return out
