"""The feature pipeline: events in, sampled feature rows out; the same fold at night and live."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from features.kernel import NEED_GROW, fold_events
from features.rows import KEY_COLUMNS, FeatureRows
from features.spec import FeatureSpec
from features.state import S_COUNTER, FeatureState, Plan, empty_state, grow_ring
from features.state import copy_state as copy_kernel_state
from marketdata.clock import Session
from marketdata.events import EXECUTE, HIDDEN, TRADE, EventArray
from marketdata.instruments import BookKind, Instrument
from marketdata.settings import SAMPLING_CLOCKS, SamplingSettings, Settings

if TYPE_CHECKING:
    from features.own import OwnState

SEQUENCE = KEY_COLUMNS.index("sequence")


class StateWithOwn(NamedTuple):
    """State of the fold where rows have columns of one's own: the kernel's, and one of each of them."""

    kernel: FeatureState
    own: "tuple[OwnState, ...]"


PipelineState = FeatureState | StateWithOwn
"""What a pipeline folds: the kernel's state alone where there are no columns of one's own."""


def copy_state(state: PipelineState) -> PipelineState:
    """Return a checkpoint: a copy that shares no memory with the state."""
    if isinstance(state, FeatureState):
        return copy_kernel_state(state)
    from features.own import copy_own

    return StateWithOwn(copy_kernel_state(state.kernel), copy_own(state.own))


@dataclass(frozen=True)
class FeaturePipeline:
    """The raw features of one instrument in one session: a frozen description with ``init`` and ``step``.

    A row is taken at the end of an event group, once enough of the sampling clock has passed since the row before
    (``sampling.every_events`` events, snapshot rows apart; aggressors; a new cell of the time grid; lots executed), at
    a time in ``[session_open_ns, session_close_ns)``, and only where the book is
    two-sided, not crossed and trading. An instrument without a book gives rows on executions, with NaN in the book
    columns, 0 in the quote keys and the last execution's price in the mid's place. Events outside the session move the
    state but give no row.

    Attributes
    ----------
    instrument : Instrument
        Its tick and kind of book.
    sampling : SamplingSettings
        When rows are taken, windows and decays.
    session_open_ns, session_close_ns : int
        The session, half open.
    time_of_day : bool
        Whether the columns about the time of day are there.
    """

    instrument: Instrument
    sampling: SamplingSettings
    session_open_ns: int
    session_close_ns: int
    time_of_day: bool

    @cached_property
    def spec(self) -> FeatureSpec:
        """The specification of the columns."""
        return FeatureSpec(self.sampling, self.time_of_day)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the features."""
        return self.spec.columns

    @property
    def fingerprint(self) -> str:
        """Hash of the specification, the same for every instrument and session of a data root."""
        return self.spec.fingerprint

    @property
    def memory_ns(self) -> int:
        """How far back any feature reaches."""
        return self.spec.memory_ns

    @cached_property
    def _plan(self) -> Plan:
        return Plan(
            windows=np.array(self.sampling.windows_ns, np.int64),
            decays=np.array(self.sampling.decays_per_s, np.float64),
            first=self.spec.first_columns,
            clock=SAMPLING_CLOCKS.index(self.sampling.clock),
            every=self.sampling.every,
            open_ns=self.session_open_ns,
            close_ns=self.session_close_ns,
            tick_units=self.instrument.tick_units,
            has_book=int(self.instrument.book_kind is not BookKind.TRADES_ONLY),
            time_of_day=int(self.time_of_day),
        )

    def init(self) -> PipelineState:
        """Return the state before the first event."""
        is_core = not self.spec.families
        state = empty_state(len(self.sampling.windows_ns), len(self.sampling.decays_per_s), is_core=is_core)
        return StateWithOwn(state, self.spec.own.init()) if self.spec.own else state

    def step(self, state: PipelineState, batch: EventArray) -> tuple[PipelineState, FeatureRows]:
        """Fold a batch of events and return the new state with the rows sampled on the way.

        Parameters
        ----------
        state : PipelineState
            Changed in place; :func:`copy_state` makes a checkpoint.
        batch : event array, shape (n,)
            Events of this instrument in order; any n, one included.

        Returns
        -------
        state : PipelineState
            To be used for the next batch; its ring may have grown.
        rows : FeatureRows
            Possibly none.
        """
        if not (batch.flags.writeable and batch.flags.c_contiguous):
            batch = batch.copy()
        if isinstance(state, FeatureState):
            kernel, rows = self._kernel_step(state, batch)
            return kernel, rows
        return self._step_with_own(state, batch)

    def _step_with_own(self, state: StateWithOwn, batch: EventArray) -> tuple[PipelineState, FeatureRows]:
        """Fold the batch with the kernel and each feature of one's own, whose values are those at the row's event."""
        assert self.spec.own is not None
        # The kernel copies an event's sequence into its row: numbered through, it tells which event the row was taken at.
        numbered = batch.copy()
        numbered["sequence"] = np.arange(len(batch))
        kernel, rows = self._kernel_step(state.kernel, numbered)
        at = rows.keys[:, SEQUENCE].copy()
        rows.keys[:, SEQUENCE] = batch["sequence"][at]
        rows.values[:, len(self.spec.kernel_columns) :] = self.spec.own.step(state.own, batch)[at]
        return StateWithOwn(kernel, state.own), rows

    def _kernel_step(self, state: FeatureState, batch: EventArray) -> tuple[FeatureState, FeatureRows]:
        """Fold the batch with the kernel; columns of one's own are left empty."""
        most = self._most_rows(int(state.at[S_COUNTER]), batch)
        keys = np.empty((most, len(KEY_COLUMNS)), np.int64)
        values = np.empty((most, len(self.columns)), np.float64)
        status, consumed, rows = fold_events(self._plan, state, batch, 0, keys, values, 0)
        while status == NEED_GROW:
            state = grow_ring(state)
            status, consumed, rows = fold_events(self._plan, state, batch, consumed, keys, values, rows)
        return state, FeatureRows(keys[:rows], values[:rows], self.columns)

    def _most_rows(self, counter: int, batch: EventArray) -> int:
        """Return how many rows a batch can give at most."""
        clock, every = self.sampling.clock, self.sampling.every
        if not len(batch) or clock in ("events", "trades"):
            passed = counter + len(batch)
        elif clock == "time":
            passed = int(batch["ts_recv"].max()) - int(batch["ts_recv"].min()) + 2 * every
        else:
            passed = counter + int(batch["size_lots"][np.isin(batch["action"], (EXECUTE, HIDDEN, TRADE))].sum())
        return min(passed // every, len(batch))


def feature_spec(settings: Settings) -> FeatureSpec:
    """Return the specification of a data root's raw features."""
    return FeatureSpec(settings.sampling, settings.training.time_of_day_features)


def session_pipeline(settings: Settings, instrument: Instrument, session: Session) -> FeaturePipeline:
    """Return the pipeline of one instrument in one session under a data root's settings."""
    return FeaturePipeline(
        instrument, settings.sampling, session.open_ns, session.close_ns, settings.training.time_of_day_features
    )


def rows_of_session(
    settings: Settings, instrument: Instrument, session: Session, events: EventArray, earlier: Sequence[EventArray] = ()
) -> FeatureRows:
    """Return all feature rows of a session.

    Parameters
    ----------
    events : event array
        The session's events of the instrument.
    earlier : sequence of event arrays
        Events of the sessions before, oldest first, that warm the state (``SamplingSettings.warmup_sessions``); they
        give no rows.
    """
    pipeline = session_pipeline(settings, instrument, session)
    state = pipeline.init()
    for batch in earlier:
        state, _ = pipeline.step(state, batch)
    return pipeline.step(state, events)[1]
