"""A/B of execution algorithms: the same parent orders on the same tape, worked by both, compared in pairs (W8).

The unit is a whole parent, never a slice of one. Parents that overlap in time see the same market, so the mean difference's
interval comes from the stationary bootstrap over parents in the order of their starts, with blocks that cover a session's hour at
least.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from backtests.replay import replay
from backtests.tca import MarketMids, ParentReport, analyse_parent, market_mids
from marketdata.clock import NS_PER_HOUR, NS_PER_MINUTE, NS_PER_S, Session
from marketdata.events import EventArray
from marketdata.instruments import Instrument
from marketdata.settings import Settings
from marketdata.venue_settings import SizingSettings
from models.bootstrap import bootstrap_means
from models.forecast import ForecastArray
from trading.config import engine_config
from trading.execution import ParentOrder
from trading.strategies import Strategy

REPLICATIONS: Final = 10_000
LEVEL: Final = 0.95
LEAST_PARENTS: Final = 20
GroupKind = Literal["all", "side", "instrument", "session"]
KINDS: Final[tuple[GroupKind, ...]] = get_args(GroupKind)
"""By what parents are grouped, in the order in which it is shown."""

Float64 = npt.NDArray[np.float64]
Progress = Callable[[str, int, int], None]


class ABError(ValueError):
    """A comparison cannot be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One parent order in one instrument of one session."""

    session: Session
    symbol: str
    parent: ParentOrder


Make = Callable[[Assignment], Strategy]


@dataclass(frozen=True, slots=True)
class ABResult:
    """Two algorithms on the same parents.

    Attributes
    ----------
    names : tuple of str
        The two, first the one that is challenged.
    assignments : tuple of Assignment
    reports : tuple of two tuples of ParentReport
        In the order of the assignments.
    difference_bps : float
        Mean over parents of the second's shortfall minus the first's, in basis points of the parent's value; negative: the
        second is cheaper.
    low_bps, high_bps : float
        Its 95 % interval.
    block : float
        Expected block of the bootstrap, in parents.
    """

    names: tuple[str, str]
    assignments: tuple[Assignment, ...]
    reports: tuple[tuple[ParentReport, ...], tuple[ParentReport, ...]]
    difference_bps: float
    low_bps: float
    high_bps: float
    block: float

    @property
    def differs(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low_bps > 0 or self.high_bps < 0


def draw_parents(
    sessions: Sequence[Session],
    instruments: Sequence[Instrument],
    *,
    parents: int,
    lots: int,
    length_ns: int,
    seed: int,
) -> tuple[Assignment, ...]:
    """Return parents spread over sessions and instruments in turn, at random times and sides, by session and start.

    The last 30 seconds of a session stay free, in which an engine flattens.

    Raises
    ------
    ABError
        If no session is long enough.
    """
    rng = np.random.default_rng(seed)
    drawn = []
    traded = [item for item in instruments if item.is_traded]
    for k in range(parents):
        session = sessions[k % len(sessions)]
        room = session.close_ns - session.open_ns - length_ns - NS_PER_MINUTE - 30 * NS_PER_S
        if room <= 0:
            raise ABError(f"the session of {session.date} is too short for parents of {length_ns / NS_PER_S:.0f} s")
        instrument = traded[(k // len(sessions)) % len(traded)]
        start = session.open_ns + NS_PER_MINUTE + int(rng.integers(room))
        side = 1 if rng.random() < 0.5 else -1
        drawn.append(Assignment(session, instrument.symbol, ParentOrder(side, lots, start, start + length_ns)))
    return tuple(sorted(drawn, key=lambda one: (one.session.open_ns, one.parent.start_ns, one.symbol)))


def compare(
    settings: Settings,
    assignments: Sequence[Assignment],
    market: Callable[[Session], tuple[EventArray, ForecastArray]],
    algorithms: Mapping[str, Make],
    *,
    queue_model: str = "risk_averse",
    seed: int = 1,
    progress: Progress | None = None,
) -> ABResult:
    """Work every parent with both algorithms, alone on the tape, and compare their shortfalls in pairs.

    Parameters
    ----------
    market : callable
        Events and forecasts of a session, all instruments.
    algorithms : mapping of str to callable
        Exactly two: what makes a strategy of an assignment.

    Raises
    ------
    ABError
        If there are not two algorithms, or fewer than 20 parents.
    """
    if len(algorithms) != 2:
        raise ABError(f"{len(algorithms)} algorithms; a comparison is of two")
    if len(assignments) < LEAST_PARENTS:
        raise ABError(f"{len(assignments)} parents are too few for an interval; at least {LEAST_PARENTS}")
    names = tuple(algorithms)
    reports: tuple[list[ParentReport], list[ParentReport]] = ([], [])
    loaded: tuple[Session, EventArray, ForecastArray] | None = None
    mids: dict[str, tuple[EventArray, ForecastArray, MarketMids]] = {}
    for done, one in enumerate(assignments):
        if loaded is None or loaded[0] != one.session:
            loaded = (one.session, *market(one.session))
            mids = {}
        instrument = settings.instrument(one.symbol)
        if one.symbol not in mids:
            rows = loaded[1][loaded[1]["instrument_id"] == instrument.instrument_id]
            said = loaded[2][loaded[2]["instrument_id"] == instrument.instrument_id]
            mids[one.symbol] = (rows, said, market_mids(rows, instrument))
        events, forecasts, seen = mids[one.symbol]
        for which, make in enumerate(algorithms.values()):
            reports[which].append(
                work_parent(settings, one, events, forecasts, seen, make(one), queue_model=queue_model)
            )
        if progress is not None:
            progress("parents", done + 1, len(assignments))
    difference = np.array([b.shortfall_bps - a.shortfall_bps for a, b in zip(*reports, strict=True)])
    block = _block(assignments)
    low, high = paired_interval(difference, block, seed)
    return ABResult(
        (names[0], names[1]),
        tuple(assignments),
        (tuple(reports[0]), tuple(reports[1])),
        float(difference.mean()),
        low,
        high,
        block,
    )


@dataclass(frozen=True, slots=True)
class GroupDifference:
    """Mean difference of some of the parents, in basis points; the interval is NaN for fewer than :data:`LEAST_PARENTS`."""

    kind: GroupKind
    name: str
    parents: int
    difference_bps: float
    low_bps: float
    high_bps: float


def group_differences(made: ABResult, seed: int = 1) -> tuple[GroupDifference, ...]:
    """Return the mean difference over all parents, by side, by instrument and by session."""
    difference = np.array([b.shortfall_bps - a.shortfall_bps for a, b in zip(*made.reports, strict=True)])
    ways: dict[tuple[GroupKind, str], list[int]] = {}
    for k, one in enumerate(made.assignments):
        side = "buy" if one.parent.side > 0 else "sell"
        names: tuple[tuple[GroupKind, str], ...] = (
            ("all", "all"),
            ("side", side),
            ("instrument", one.symbol),
            ("session", one.session.date.isoformat()),
        )
        for group in names:
            ways.setdefault(group, []).append(k)
    found = []
    for (kind, name), places in sorted(ways.items(), key=lambda item: (KINDS.index(item[0][0]), item[0][1])):
        own = difference[places]
        low = high = float("nan")
        if len(own) >= LEAST_PARENTS:
            low, high = paired_interval(own, max(1.0, made.block * len(own) / len(difference)), seed)
        found.append(GroupDifference(kind, name, len(own), float(own.mean()), low, high))
    return tuple(found)


def work_parent(
    settings: Settings,
    one: Assignment,
    events: EventArray,
    forecasts: ForecastArray,
    market: MarketMids,
    strategy: Strategy,
    *,
    queue_model: str = "risk_averse",
) -> ParentReport:
    """Work one parent through the engine and return what it cost.

    Risk limits are those of a parent, not of the forecast strategy: its own lots, whole, and no daily loss.
    """
    instrument = settings.instrument(one.symbol)
    lots = one.parent.lots
    free = settings.risk.model_copy(
        update={"max_position_lots": lots, "max_order_lots": lots, "daily_loss": 1e9, "price_collar_bps": 10_000}
    )
    capital = max(settings.strategy.capital, _worth(market, one, instrument))
    rich = settings.strategy.model_copy(update={"capital": capital})
    wealth = settings.model_copy(update={"risk": free, "strategy": rich, "sizing": SizingSettings()})
    # The tape up to a minute behind the parent's end is all that its markouts need.
    last = one.parent.end_ns + 2 * NS_PER_MINUTE
    config = engine_config(wealth, one.session, queue_model=queue_model, strategy=strategy, instruments=(instrument,))
    part = events[: int(np.searchsorted(events["ts_recv"], last))]
    result = replay(config, part, forecasts[: int(np.searchsorted(forecasts["due_ns"], last))])
    path = settings.latency.decision_ns + settings.latency.order_ns
    decision = settings.latency.decision_ns
    return analyse_parent(one.parent, result.journal, market, instrument, path_ns=path, decision_ns=decision)


def _worth(market: MarketMids, one: Assignment, instrument: Instrument) -> float:
    """Return twenty times the parent's value: an account that its own marks cannot halt."""
    return 20.0 * float(market.at(one.parent.start_ns)) * one.parent.lots * instrument.unit_nanos / 1e9


def _block(assignments: Sequence[Assignment]) -> float:
    """Return the parents that start in an hour, at least 1: overlapping parents are in one block."""
    sessions = {one.session.open_ns: one.session for one in assignments}
    hours = sum((s.close_ns - s.open_ns) / NS_PER_HOUR for s in sessions.values())
    return max(1.0, len(assignments) / max(hours, 1.0))


def paired_interval(difference: Float64, block: float, seed: int) -> tuple[float, float]:
    """Return the 95 % interval of the mean of paired differences, from a stationary bootstrap with an expected block."""
    mean = float(difference.mean())
    centred = np.ascontiguousarray((difference - mean)[:, None])
    spread = bootstrap_means(centred, block, REPLICATIONS, seed)[:, 0]
    low, high = np.quantile(spread, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    # The basic interval: the bootstrap's spread mirrored about the mean.
    return mean - float(high), mean - float(low)
