"""What nobody in the market sees: regimes, mood, news and the informed trader's episodes of one session."""

import hashlib
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from marketdata.clock import NS_PER_S, Session
from marketdata.settings import SimulatorSettings
from marketdata.simulator.parameters import (
    EPISODE_FLOW_S,
    EPISODE_PEAK_RATE,
    EPISODE_PUSH_S,
    EPISODE_REST_S,
    EPISODES_PER_HOUR,
    HEAT_HALF_LIFE_S,
    HEAT_LOG_VARIANCE,
    MOOD_HALF_LIFE_S,
    MOOD_UNITS_PER_S,
    REGIME_ACTIVITY,
    REGIME_MEAN_S,
    REGIME_NEWS_VARIANCE,
    STEP_S,
    Character,
)

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

BASE_SESSION_S = 23_400.0


def generator(seed: int, day: date, stream: str) -> np.random.Generator:
    """Return the generator of one named stream of a session; streams are independent of each other."""
    digest = hashlib.sha256(f"{seed}/{day.isoformat()}/{stream}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


@dataclass(frozen=True, slots=True)
class Latent:
    """The shared hidden state of a session, on the grid of ``STEP_S``.

    Attributes
    ----------
    regime : int64 array, shape (G,)
        Index into ``REGIMES``.
    heat : float64 array, shape (G,)
        Clustering of activity and volatility within a regime, mean near 1.
    activity : float64 array, shape (G,)
        Intraday curve times the regime's activity and the heat, mean near 1.
    news_variance : float64 array, shape (G,)
        Relative variance of the news a step, mean near 1.
    common : float64 array, shape (G,)
        Standard normal common news a step.
    mood, slow_mood : float64 array, shape (G,)
        Standardised mood of the market and of the slow signals; the same array where the world ties them together.
    """

    regime: Int64
    heat: Float64
    activity: Float64
    news_variance: Float64
    common: Float64
    mood: Float64
    slow_mood: Float64

    @property
    def steps(self) -> int:
        """Steps of the session's grid."""
        return len(self.regime)


@dataclass(frozen=True, slots=True)
class Episodes:
    """The informed episodes of one instrument; one entry an episode, times in seconds from the open.

    The informed trader buys (``direction`` 1) or sells (-1) from ``start_s`` on, ever faster, until the efficient price moves
    by ``direction * move_units`` between ``push_s`` and ``push_s + EPISODE_PUSH_S``.
    """

    start_s: Float64
    push_s: Float64
    direction: Int64
    move_units: float

    def __len__(self) -> int:
        return len(self.start_s)

    @property
    def moves(self) -> Float64:
        """Signed repricing of each episode, in price units."""
        return (self.direction * self.move_units).astype(np.float64)


def intraday_curve(steps: int) -> Float64:
    """Return the U-shape of activity over the session, mean 1."""
    share = (np.arange(steps) + 0.5) / steps
    curve = 0.7 + 0.75 * (2 * share - 1) ** 2 + 0.6 * np.exp(-share / 0.04)
    return curve / curve.mean()


def _regime_path(rng: np.random.Generator, steps: int) -> Int64:
    path = np.empty(steps, np.int64)
    now = int(rng.choice(3, p=[0.35, 0.5, 0.15]))
    filled = 0
    while filled < steps:
        stay = max(1, int(rng.exponential(REGIME_MEAN_S[now]) / STEP_S))
        path[filled : filled + stay] = now
        filled += stay
        now = int(rng.integers(2)) * 2 if now == 1 else 1
    return path


def _reverting_path(rng: np.random.Generator, steps: int, half_life_s: float, every_s: float = 60.0) -> Float64:
    """Return a stationary Ornstein-Uhlenbeck path with variance 1, drawn every so often and joined by lines."""
    knots = int(steps * STEP_S / every_s) + 2
    keep = 0.5 ** (every_s / half_life_s)
    draws = rng.standard_normal(knots)
    values = np.empty(knots)
    values[0] = draws[0]
    for k in range(1, knots):
        values[k] = keep * values[k - 1] + np.sqrt(1 - keep * keep) * draws[k]
    return np.interp(np.arange(steps) * STEP_S, np.arange(knots) * every_s, values)


def _heat_path(rng: np.random.Generator, steps: int) -> Float64:
    """Return the heat of the market a step: the exponential of several reverting paths, mean 1."""
    log_heat = np.zeros(steps)
    for half_life_s, variance in zip(HEAT_HALF_LIFE_S, HEAT_LOG_VARIANCE, strict=True):
        path = _reverting_path(rng, steps, half_life_s, every_s=min(60.0, half_life_s / 9.0))
        log_heat += np.sqrt(variance) * path - 0.5 * variance
    return np.exp(log_heat)


def draw_latent(simulator: SimulatorSettings, session: Session) -> Latent:
    """Return the shared hidden state of a session."""
    steps = max(1, int((session.close_ns - session.open_ns) / NS_PER_S / STEP_S))
    regime = _regime_path(generator(simulator.seed, session.date, "regime"), steps)
    curve = intraday_curve(steps)
    heat = _heat_path(generator(simulator.seed, session.date, "heat"), steps)
    mood = _reverting_path(generator(simulator.seed, session.date, "mood"), steps, MOOD_HALF_LIFE_S)
    tied = simulator.world == "market"
    other = generator(simulator.seed, session.date, "slow mood")
    slow = mood if tied else _reverting_path(other, steps, MOOD_HALF_LIFE_S)
    return Latent(
        regime=regime,
        heat=heat,
        activity=curve * heat * np.array(REGIME_ACTIVITY)[regime],
        news_variance=curve * heat * np.array(REGIME_NEWS_VARIANCE)[regime],
        common=generator(simulator.seed, session.date, "common news").standard_normal(steps),
        mood=np.zeros(steps) if simulator.world == "n1" else mood,
        slow_mood=slow,
    )


def draw_episodes(
    rng: np.random.Generator, heat: Float64, duration_s: float, pace: float, move_units: float
) -> Episodes:
    """Return an instrument's informed episodes: starts as likely as the market is hot, but never one within another.

    Parameters
    ----------
    heat : float64 array, shape (G,)
        Relative rate of starts a step.
    pace : float
        Activity relative to the default; a slower market has fewer episodes, a faster one no more of them.
    move_units : float
        Repricing that ends an episode; may be 0 or negative (the informed trader is wrong).
    """
    shortest, longest = EPISODE_FLOW_S
    busy = 0.5 * (shortest + longest) + EPISODE_PUSH_S + EPISODE_REST_S
    gap = max(3_600.0 / (EPISODES_PER_HOUR * min(1.0, pace)) - busy, 1.0)
    starts, pushes, directions = [], [], []
    edges = np.arange(len(heat) + 1) * STEP_S
    clock = np.concatenate([[0.0], np.cumsum(heat) * STEP_S])

    def next_start(after: float) -> float:
        due = float(np.interp(after, edges, clock)) + rng.exponential(gap)
        return float(np.interp(due, clock, edges)) if due < clock[-1] else np.inf

    now = next_start(20.0)
    while True:
        flow = rng.uniform(shortest, longest)
        if now + flow + EPISODE_PUSH_S + EPISODE_REST_S > duration_s:
            break
        starts.append(now)
        pushes.append(now + flow)
        directions.append(1 if rng.random() < 0.5 else -1)
        now = next_start(now + flow + EPISODE_PUSH_S + EPISODE_REST_S)
    return Episodes(np.array(starts), np.array(pushes), np.array(directions, np.int64), move_units)


def informed_rate(episodes: Episodes, steps: int) -> Float64:
    """Return the informed market orders a second on the grid; negative where they sell."""
    rate = np.zeros(steps)
    for start, push, direction in zip(episodes.start_s, episodes.push_s, episodes.direction, strict=True):
        first, last = int(start / STEP_S), min(int(push / STEP_S), steps)
        share = (np.arange(first, last) * STEP_S - start) / (push - start)
        rate[first:last] = direction * EPISODE_PEAK_RATE * (0.06 + 0.94 * np.clip(share, 0.0, 1.0) ** 2)
    return rate


def pushes_on_grid(push_s: Float64, move_units: Float64, steps: int) -> Float64:
    """Return the efficient price's informed move a step: each move spread evenly over ``EPISODE_PUSH_S``.

    ``push_s`` is in order, its entries at least ``EPISODE_PUSH_S`` and four steps apart, as :func:`draw_episodes` makes them.
    """
    if len(push_s) == 0:
        return np.zeros(steps)
    edges = np.arange(steps + 1) * STEP_S
    done = np.concatenate([[0.0], np.cumsum(move_units)])
    last = np.minimum(((push_s + EPISODE_PUSH_S) / STEP_S).astype(np.int64) + 3, steps + 1)
    over = np.searchsorted(last, np.arange(steps + 1), side="right")
    now = np.minimum(over, len(push_s) - 1)
    part = np.clip((edges - push_s[now]) / EPISODE_PUSH_S, 0.0, 1.0)
    total = np.where(over < len(push_s), done[over] + move_units[now] * part, done[-1])
    return np.diff(total)


def news_on_grid(latent: Latent, character: Character, own: Float64, pace: float) -> Float64:
    """Return the efficient price's news a step in price units: common part, own part and the mood's tilt."""
    scale = character.news_units * np.sqrt(pace * STEP_S / BASE_SESSION_S * latent.news_variance)
    mixed = np.sqrt(character.common_share) * latent.common + np.sqrt(1 - character.common_share) * own
    return scale * mixed + MOOD_UNITS_PER_S * STEP_S * latent.mood
