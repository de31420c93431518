"""What the screen leaves out, in money: the same parameter sets through the screen and through the whole engine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from backtests.parameters import TakerParameters
from backtests.replay import run_days
from backtests.sweep import SweepResult
from marketdata.clock import Session
from marketdata.events import EventArray
from marketdata.settings import Settings
from models.forecast import ForecastArray
from trading.carried import SessionTrace


@dataclass(frozen=True, slots=True)
class BiasRow:
    """One parameter set in both; money in quote currency.

    Attributes
    ----------
    place : int
        Position in the sweep.
    rank : int
        By the screen's net profit, 1 the best.
    bias_per_trip : float
        The screen's net profit a round trip less the engine's: positive where the screen flatters. NaN where either made none.
    """

    place: int
    rank: int
    parameters: TakerParameters
    screen_net: float
    engine_net: float
    screen_trips: int
    engine_trips: int
    bias_per_trip: float


@dataclass(frozen=True, slots=True)
class ScreenBias:
    """The screen against the engine over some sets.

    Attributes
    ----------
    rank_correlation : float
        Spearman's, between the two net profits; NaN for fewer than three sets.
    mean_per_trip : float
        Mean bias a round trip over all round trips of the engine, in quote currency; NaN without any.
    """

    rows: tuple[BiasRow, ...]
    rank_correlation: float
    mean_per_trip: float


def spread_places(net: Sequence[float], count: int) -> list[int]:
    """Return positions of sets spread evenly over the ranks of their net profit, the best and the worst among them."""
    order = sorted(range(len(net)), key=lambda k: (-net[k], k))
    count = min(count, len(order))
    if count <= 1:
        return order[:count]
    return [order[round(k * (len(order) - 1) / (count - 1))] for k in range(count)]


def screen_bias(
    settings: Settings,
    found: SweepResult,
    days: Mapping[Session, tuple[EventArray, ForecastArray]],
    places: Sequence[int],
    *,
    queue_model: str = "risk_averse",
    earlier: Sequence[SessionTrace] = (),
    progress: Callable[[str, int, int], None] | None = None,
) -> ScreenBias:
    """Trade chosen sets of a sweep through the engine, at the stated latencies, and compare.

    Parameters
    ----------
    days : mapping of session to (events, forecasts)
        The sessions that the sweep traded, as :func:`backtests.replay.run_days` wants them.
    places : sequence of int
        Which sets (:func:`spread_places`): the best alone would be compared where the screen was luckiest.

    Notes
    -----
    The difference is what the screen leaves out: levels behind the best, quotes between two rows (above all at the session's
    end), the risk gate, the drawdown ladder and the calendar's pauses.
    """
    ranks = np.empty(len(found.parameters), np.int64)
    ranks[np.argsort(-found.net, kind="stable")] = np.arange(1, len(ranks) + 1)
    rows = []
    for done, place in enumerate(places, start=1):
        chosen = found.parameters[place]
        results = run_days(settings, days, queue_model=queue_model, strategy=chosen.strategy, earlier=earlier)
        net, trips = sum(r.net for r in results), sum(r.round_trips().height for r in results)
        own, own_trips = float(found.net[place]), int(found.round_trips[place])
        bias = own / own_trips - net / trips if own_trips and trips else float("nan")
        rows.append(BiasRow(place, int(ranks[place]), chosen, own, net, own_trips, trips, bias))
        if progress is not None:
            progress("through the engine", done, len(places))
    made = np.array([row.engine_net for row in rows])
    screened = np.array([row.screen_net for row in rows])
    trips_made = sum(row.engine_trips for row in rows)
    mean = float((screened.sum() - made.sum()) / trips_made) if trips_made else float("nan")
    return ScreenBias(tuple(rows), _spearman(screened, made), mean)


def _spearman(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)
