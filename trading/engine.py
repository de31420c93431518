"""The engine: an agent, a simulated venue and the scheduler between them, as one fold over what arrives.

``Engine(config)`` is a frozen description; ``init()`` makes its state; ``run(state, market, forecasts, controls, until_ns)``
lets everything happen up to a watermark and returns the state and the journal rows written on the way. Cutting the market,
the forecasts and the controls into calls anywhere gives the same rows, bit for bit. A backtest calls it once a session, a
paper session once a batch.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.events import EVENT_DTYPE, EventArray, empty_events
from models.forecast import FORECAST_DTYPE, ForecastArray
from trading.agent import prepare_view
from trading.config import EngineConfig
from trading.controls import CONTROL_DTYPE, REARM, ControlArray
from trading.hooks import decide_nothing
from trading.journal import JOURNAL_DTYPE, Journal
from trading.ledger import MILLION, to_nanos
from trading.loop_state import RUN_DONE, RUN_NEED_GROW, RUN_WAKE_PYTHON
from trading.risk import set_peak
from trading.room import allocate_state, copy_state, grow
from trading.scheduler import ANSWERED, run_kernel
from trading.state import (
    G_EQUITY,
    G_HEARD_NS,
    G_ILLEGAL,
    G_INTENTS,
    G_LADDER,
    G_LATE_ROWS,
    G_NEXT_MARK,
    G_NEXT_TIMER,
    G_NOW,
    G_OPEN_EQUITY,
    G_OUT,
    G_PEAK,
    G_WAKE_SLOT,
    G_WAKE_WHY,
    G_WAKING,
    I_MAX_POSITION,
    I_SIZE_PPM,
    I_TIMER,
    ID_ROOM,
    INTENT_ROWS,
    N_NEXT_DOWN,
    NEVER,
    EngineParameters,
    EngineState,
)
from trading.strategies import O_COUNT, V_COUNT

OUT_ROWS: Final = 32_768
"""Journal rows that one call of the kernel may write before it hands them over, at least."""
OUT_MOST: Final = 1 << 21
"""The same at most, but for room that the tables of orders need; memory that is not written to is not taken."""


class Account(NamedTuple):
    """What survives a session: equity, its peak, and the drawdown state."""

    equity_nanos: int
    peak_nanos: int
    ladder: int


class Pending(NamedTuple):
    """Input that has been given but whose time has not come.

    Attributes
    ----------
    market : event array, shape (n,)
    venue_done : bool array, shape (n,)
        Rows that the venue has taken already; the agent has taken none of the first ``agent_from`` less.
    agent_from : int
        Rows at the front that the agent has taken already.
    """

    market: EventArray
    venue_done: npt.NDArray[np.bool_]
    agent_from: int
    forecasts: ForecastArray
    controls: ControlArray


@dataclass(frozen=True, slots=True)
class RunState:
    """The state of an engine between two runs; :meth:`copy` is a checkpoint."""

    kernel: EngineState
    pending: Pending

    def copy(self) -> "RunState":
        """Return a checkpoint: running on from it changes nothing here."""
        return RunState(copy_state(self.kernel), self.pending)

    @property
    def now_ns(self) -> int:
        """Time of the last thing that happened."""
        return int(self.kernel.agent.g[G_NOW])

    @property
    def late_rows(self) -> int:
        """Market rows that came after the watermark had passed them; 0 when the promise was kept."""
        return int(self.kernel.agent.g[G_LATE_ROWS])

    @property
    def illegal_answers(self) -> int:
        """Venue answers that the order table does not know; always 0 with the simulated venue."""
        return int(self.kernel.agent.g[G_ILLEGAL])


class Engine:
    """One account trading the instruments of one session through a simulated venue."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self._parameters = config.parameters()
        self._view = np.zeros((len(config.instruments), V_COUNT + 1), np.int64)

    def init(self, account: Account | None = None) -> RunState:
        """Return the state before the session; ``account`` carries equity, peak and drawdown state over from an earlier one."""
        config = self.config
        instruments = len(config.instruments)
        state = allocate_state(
            instruments,
            rate_limit=config.risk.max_orders_per_s,
            levels=config.book_levels,
            orders=max(64, 16 * instruments),
            ring=max(512, 64 * instruments),
            intent_columns=O_COUNT,
            ids=ID_ROOM if config.queue.by_id else 1,
        )
        g = state.agent.g
        capital = to_nanos(config.capital)
        carried = account or Account(capital, capital, 0)
        g[G_EQUITY] = g[G_OPEN_EQUITY] = carried.equity_nanos
        set_peak(g, self._parameters.ints, carried.peak_nanos)
        g[G_LADDER] = carried.ladder
        g[G_HEARD_NS] = config.session.open_ns
        state.agent.inst[:, I_SIZE_PPM] = MILLION
        g[G_NEXT_MARK] = config.session.open_ns
        g[G_NEXT_TIMER] = min(config.session.open_ns, config.ending_ns)
        down = self._parameters.downtime
        state.venue.g[N_NEXT_DOWN] = down[0, 0] if len(down) else NEVER
        state.agent.inst[:, I_TIMER] = NEVER
        state.agent.inst[:, I_MAX_POSITION] = config.risk.max_position_lots
        pending = Pending(empty_events(0), np.zeros(0, np.bool_), 0, np.zeros(0, FORECAST_DTYPE), config.pauses.copy())
        return RunState(state, pending)

    @property
    def parameters(self) -> EngineParameters:
        """What the kernel reads and never changes."""
        return self._parameters

    def account(self, state: RunState) -> Account:
        """Return what the next session starts from."""
        g = state.kernel.agent.g
        return Account(int(g[G_EQUITY]), int(g[G_PEAK]), int(g[G_LADDER]))

    def run(
        self,
        state: RunState,
        market: EventArray | None,
        forecasts: ForecastArray | None,
        controls: ControlArray | None,
        until_ns: int,
    ) -> tuple[RunState, Journal]:
        """Let everything happen that is certain at a watermark.

        Parameters
        ----------
        state : RunState
            Taken over: run on from the returned state, or from a copy made before.
        market : event array, optional
            New rows of all instruments, ordered by ``ts_recv``.
        forecasts : forecast array, optional
            New forecasts, ordered by ``due_ns``.
        controls : control array, optional
            New controls, ordered by ``due_ns``.
        until_ns : int
            Receive watermark: every market row with ``ts_recv`` before it, and every forecast and control that is due before
            it, has been given. Because a row's ``ts_event`` may lie ``feed_bound_ns`` before its ``ts_recv``, things happen
            strictly before ``until_ns - feed_bound_ns``. ``trading.engine.FOREVER`` ends a session.

        Returns
        -------
        RunState
        journal array
            Rows written in this call.

        Raises
        ------
        ValueError
            If an input is not ordered, or is not of its dtype.
        """
        kernel, pending = state.kernel, state.pending
        rows, venue_done, in_order = _joined_market(pending, market)
        due_forecasts = _joined(pending.forecasts, forecasts, FORECAST_DTYPE, "forecasts")
        due_controls = _merged(pending.controls, controls)
        _named_rearms(controls)
        venue_order, venue_from, prefix = _venue_order(rows, venue_done, in_order)
        cursors = np.array([venue_from, pending.agent_from, 0, 0, prefix], np.int64)
        limit = until_ns if until_ns == FOREVER else until_ns - self.config.feed_bound_ns
        prepare_view(kernel.agent, self._parameters, self._view)
        written = []
        room = min(max(OUT_ROWS, 2 * len(rows)), OUT_MOST)
        out = np.empty(room, JOURNAL_DTYPE)
        strategy = self.config.strategy
        hook = strategy.hook if strategy.is_compiled else decide_nothing
        kernel.agent.g[G_OUT] = 0
        while True:
            status = run_kernel(
                kernel,
                self._parameters,
                self.config.queue.hook,
                self.config.fee,
                hook,
                rows,
                venue_order,
                due_forecasts,
                due_controls,
                cursors,
                limit,
                out,
                self._view,
            )
            if status == RUN_WAKE_PYTHON:
                self._ask(kernel)
                continue
            written.append(out[: kernel.agent.g[G_OUT]])
            kernel.agent.g[G_OUT] = 0
            if status == RUN_DONE:
                break
            if status == RUN_NEED_GROW:
                kernel = grow(kernel)
                room = max(room, 8 * len(kernel.agent.orders) + 2 * OUT_ROWS)
            out = np.empty(room, JOURNAL_DTYPE)
        left = _left_over(rows, venue_done, venue_order, cursors, due_forecasts, due_controls)
        return RunState(kernel, left), _joined_rows(written)

    def _ask(self, kernel: EngineState) -> None:
        """Let a Python strategy decide on what the kernel stopped for."""
        agent, parameters = kernel.agent, self._parameters
        slot = int(agent.g[G_WAKE_SLOT])
        rows = self.config.strategy.decide(
            int(agent.g[G_NOW]),
            int(agent.g[G_WAKE_WHY]),
            parameters.strategy_ints,
            parameters.strategy_floats,
            self._view[slot],
            agent.forecast[slot],
            agent.memory[slot],
            agent.intents,
        )
        if not 0 <= rows <= INTENT_ROWS:
            raise ValueError(
                f"strategy {self.config.strategy.name} asked for {rows} orders at once; at most {INTENT_ROWS}"
            )
        agent.g[G_INTENTS] = rows
        agent.g[G_WAKING] = ANSWERED


FOREVER: Final = NEVER
"""A watermark after which nothing more will come: everything that is due happens."""


def _joined_rows(written: list[Journal]) -> Journal:
    """Return journal rows that were written apart as one array.

    They are copied as bytes, which numpy does many times faster than rows. What fills most of the memory it was written to is
    not copied at all.
    """
    if len(written) == 1 and written[0].base is not None and 2 * len(written[0]) > len(written[0].base):
        return written[0]
    whole: Journal = np.concatenate([rows.view(np.uint8) for rows in written]).view(JOURNAL_DTYPE)
    return whole


def _joined_market(
    pending: Pending, market: EventArray | None
) -> tuple[EventArray, npt.NDArray[np.bool_], bool | None]:
    """Return all rows whose time has not come, which of them the venue has, and whether they are in its order, where known."""
    if market is None or len(market) == 0:
        return pending.market, pending.venue_done.copy(), None
    if market.dtype != EVENT_DTYPE:
        raise ValueError("market rows have another form than expected")
    received, happened = _ascending(market)
    if not received:
        raise ValueError("market rows are not ordered by ts_recv")
    fresh = _plain(market)
    if len(pending.market) == 0:
        return fresh, np.zeros(len(fresh), np.bool_), happened
    if fresh["ts_recv"][0] < pending.market["ts_recv"][-1]:
        raise ValueError("market rows are not ordered by ts_recv: this call starts before the end of the last")
    done = np.concatenate([pending.venue_done, np.zeros(len(fresh), np.bool_)])
    return np.concatenate([pending.market, fresh]), done, None


@njit(cache=True)
def _ascending(rows: EventArray) -> tuple[bool, bool]:
    """Return whether rows are ordered by ``ts_recv``, and whether by ``ts_event``: one pass over them."""
    received, happened = True, True
    for k in range(1, len(rows)):
        if rows[k].ts_recv < rows[k - 1].ts_recv:
            received = False
        if rows[k].ts_event < rows[k - 1].ts_event:
            happened = False
    return received, happened


def _joined(
    pending: npt.NDArray[np.void], fresh: npt.NDArray[np.void] | None, dtype: np.dtype[np.void], what: str
) -> npt.NDArray[np.void]:
    if fresh is None or len(fresh) == 0:
        return pending
    fresh = _checked(fresh, dtype, what, "due_ns")
    if len(pending) == 0:
        return fresh
    if fresh["due_ns"][0] < pending["due_ns"][-1]:
        raise ValueError(f"{what} are not ordered by due_ns: this call starts before the end of the last")
    return np.concatenate([pending, fresh])


def _checked(rows: npt.NDArray[np.void], dtype: np.dtype[np.void], what: str, clock: str) -> npt.NDArray[np.void]:
    if rows.dtype != dtype:
        raise ValueError(f"{what} have another form than expected")
    times = rows[clock]
    if len(times) > 1 and bool(np.any(times[1:] < times[:-1])):
        raise ValueError(f"{what} are not ordered by {clock}")
    # Rows read from a file lay their fields out alike but are not marked as aligned: numba would make another kernel for them.
    return _plain(rows.view(dtype))


def _plain(rows: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Return rows as kernels take them; numba makes another kernel for arrays that are read-only or apart in memory."""
    return rows if rows.flags.c_contiguous and rows.flags.writeable else rows.copy()


def _merged(pending: ControlArray, fresh: ControlArray | None) -> ControlArray:
    """Return the controls in the order in which they are due: a calendar's pauses are known before what a person asks."""
    if fresh is None or len(fresh) == 0:
        return pending
    joined = np.concatenate([pending, _checked(fresh, CONTROL_DTYPE, "controls", "due_ns")])
    ordered: ControlArray = joined[np.argsort(joined["due_ns"], kind="stable")]
    return ordered


def _named_rearms(controls: ControlArray | None) -> None:
    if controls is not None and len(controls) and bool(np.any((controls["kind"] == REARM) & (controls["by"] == b""))):
        raise ValueError("re-arming needs the name of the person who does it")


def _venue_order(
    rows: EventArray, venue_done: npt.NDArray[np.bool_], in_order: bool | None
) -> tuple[npt.NDArray[np.int64], int, int]:
    """Return the order in which the venue takes rows, how many of it are done, and how many rows at the front are.

    The order is by ``ts_event``; an empty one means the array's own order.
    """
    done = int(venue_done.sum())
    if in_order is None:
        times = rows["ts_event"]
        in_order = bool(venue_done[:done].all()) and not bool(np.any(times[done + 1 :] < times[done:-1]))
    if in_order:
        return np.zeros(0, np.int64), done, done
    left = np.flatnonzero(~venue_done)
    order: npt.NDArray[np.int64] = left[np.argsort(rows["ts_event"][left], kind="stable")]
    return order, 0, int(left[0]) if len(left) else len(rows)


def _left_over(
    rows: EventArray,
    venue_done: npt.NDArray[np.bool_],
    venue_order: npt.NDArray[np.int64],
    cursors: npt.NDArray[np.int64],
    forecasts: ForecastArray,
    controls: ControlArray,
) -> Pending:
    taken, agent, control_row, forecast_row = (int(c) for c in cursors[:4])
    if len(venue_order) == 0:
        venue_done[:taken] = True
    else:
        venue_done[venue_order[:taken]] = True
    open_rows = np.flatnonzero(~venue_done)
    start = min(agent, int(open_rows[0]) if len(open_rows) else len(rows))
    return Pending(
        rows[start:].copy(),
        venue_done[start:].copy(),
        agent - start,
        forecasts[forecast_row:].copy(),
        controls[control_row:].copy(),
    )
