"""Does the micro-price say where the mid goes? Errors of fair prices on hours that the table never saw (W2)."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.fitted.microprice import MicroPriceParams, estimate
from features.fitted.params import FitWindow
from features.information import bootstrap_counts
from marketdata.book import empty_book, fold_best
from marketdata.clock import NS_PER_HOUR, NS_PER_MINUTE, NS_PER_S, Session
from marketdata.events import F_LAST, EventArray
from marketdata.instruments import Instrument

TRAIN_HOURS: Final = 4
"""Hours from the open that the table is estimated on; the rest is held back."""
HORIZONS_S: Final = (1, 10, 60)
BLOCK_NS: Final = 5 * NS_PER_MINUTE
TARGET_NEXT: Final = "next mid"
FAIR_PRICES: Final = ("mid", "weighted mid", "micro-price", "first move")
"""The last one is the chain's expected mid after its first move, which the micro-price goes on from."""

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FairPriceErrors:
    """Errors of the fair prices against one target, in ticks, over the held-back quotes.

    Attributes
    ----------
    target : str
        ``next mid`` (after the next change of the mid), or the mid some seconds on.
    quotes : int
        Quotes that were scored.
    rmse, mae : dict of fair price to float
    gain_over_mid, gain_over_weighted, first_over_mid : tuple of three floats
        Share of the mean squared error that the micro-price (and the mid after the first move) takes away, with its 95 %
        interval from a bootstrap of five-minute blocks; negative where it is worse.
    """

    target: str
    quotes: int
    rmse: dict[str, float]
    mae: dict[str, float]
    gain_over_mid: tuple[float, float, float]
    gain_over_weighted: tuple[float, float, float]
    first_over_mid: tuple[float, float, float]


def microprice_study(
    events: EventArray, instrument: Instrument, session: Session, seed: int = 0
) -> tuple[FairPriceErrors, ...]:
    """Return the errors against the next mid and the mids of :data:`HORIZONS_S`, one entry a target.

    Every change of the best quotes is a transition of the chain and a row of the score.
    """
    best = fold_best(empty_book(), events)
    last = np.flatnonzero(events["flags"] & F_LAST)
    best, ts = best[last], events["ts_recv"][last]
    two_sided = (best[:, 1] > 0) & (best[:, 3] > 0) & (best[:, 0] < best[:, 2])
    changed = np.concatenate([[True], (best[1:] != best[:-1]).any(axis=1)])
    kept = np.flatnonzero(two_sided & changed)
    best, ts = best[kept].astype(np.float64), ts[kept]
    imbalance = (best[:, 1] - best[:, 3]) / (best[:, 1] + best[:, 3])
    spread = (best[:, 2] - best[:, 0]) / instrument.tick_units
    mid = (best[:, 0] + best[:, 2]) / (2.0 * instrument.tick_units)
    cut = session.open_ns + TRAIN_HOURS * NS_PER_HOUR
    train = np.flatnonzero(ts < cut)
    held = np.flatnonzero(ts >= cut)
    adjustment = []
    for first_move in (False, True):
        table, edges = estimate(imbalance, spread, mid, train[:-1], train[1:], first_move=first_move)
        params = MicroPriceParams(table[None], edges[None], (0, 1, 2), FitWindow(session.open_ns, cut, cut))
        adjustment.append(params.adjustment_ticks(np.zeros(len(held), np.int64), imbalance[held], spread[held]))
    mid, ts = mid[held], ts[held]
    fair = {
        FAIR_PRICES[0]: mid,
        FAIR_PRICES[1]: mid + imbalance[held] * spread[held] / 2.0,
        FAIR_PRICES[2]: mid + adjustment[0],
        FAIR_PRICES[3]: mid + adjustment[1],
    }
    moves = np.flatnonzero(np.diff(mid)) + 1
    nth = np.searchsorted(moves, np.arange(len(mid)), side="right")
    found = []
    if len(moves):
        there = nth < len(moves)
        found.append(
            _errors(TARGET_NEXT, fair, mid[moves[np.minimum(nth, len(moves) - 1)]], there, (ts - cut) // BLOCK_NS, seed)
        )
    for seconds in HORIZONS_S:
        later = ts + seconds * NS_PER_S
        goal = mid[np.searchsorted(ts, later, side="right") - 1]
        scored = later < session.close_ns
        if scored.any():
            found.append(_errors(f"mid {seconds} s on", fair, goal, scored, (ts - cut) // BLOCK_NS, seed))
    return tuple(found)


def _errors(
    target: str,
    fair: dict[str, Float64],
    goal: Float64,
    scored: npt.NDArray[np.bool_],
    block: npt.NDArray[np.int64],
    seed: int,
) -> FairPriceErrors:
    error = {name: (goal - price)[scored] for name, price in fair.items()}
    square = {name: value * value for name, value in error.items()}
    micro, blocks = FAIR_PRICES[2], block[scored]
    return FairPriceErrors(
        target,
        int(scored.sum()),
        {name: float(np.sqrt(value.mean())) for name, value in square.items()},
        {name: float(np.abs(value).mean()) for name, value in error.items()},
        _gain(square[FAIR_PRICES[0]], square[micro], blocks, seed),
        _gain(square[FAIR_PRICES[1]], square[micro], blocks, seed),
        _gain(square[FAIR_PRICES[0]], square[FAIR_PRICES[3]], blocks, seed),
    )


def _gain(other: Float64, own: Float64, block: npt.NDArray[np.int64], seed: int) -> tuple[float, float, float]:
    """Return 1 - Σ own / Σ other, with the 2.5 and 97.5 per cent points over draws of blocks."""
    _, place = np.unique(block, return_inverse=True)
    sums = np.stack([np.bincount(place, weights=value) for value in (own, other)])
    drawn = bootstrap_counts(sums.shape[1], seed=seed) @ sums.T
    low, high = np.quantile(1.0 - drawn[:, 0] / drawn[:, 1], (0.025, 0.975))
    return float(1.0 - own.sum() / other.sum()), float(low), float(high)
