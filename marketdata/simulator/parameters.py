"""The constants of the simulated market: who trades how often, how much, and at what distance.

Rates are per second at the default activity (20,000 events an hour an instrument); a session with another target count runs the
uninformed flow on a slower or faster clock.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

STEP_S: Final = 0.2
"""Grid on which the efficient price receives news; everything else happens in continuous time."""
EVENTS_PER_HOUR: Final = 20_000.0
"""Activity at which the rates below are stated."""

BUY: Final = 0
SELL: Final = 1
ADD_BID: Final = 2
ADD_ASK: Final = 3
DEEP_ADD_BID: Final = 4
DEEP_ADD_ASK: Final = 5
CANCEL_BID: Final = 6
CANCEL_ASK: Final = 7
DEEP_CANCEL_BID: Final = 8
DEEP_CANCEL_ASK: Final = 9
IMPROVE_BID: Final = 10
IMPROVE_ASK: Final = 11
HAWKES_TYPES: Final = 12
HAWKES_NAMES: Final = (
    "buy",
    "sell",
    "add_bid",
    "add_ask",
    "deep_add_bid",
    "deep_add_ask",
    "cancel_bid",
    "cancel_ask",
    "deep_cancel_bid",
    "deep_cancel_ask",
    "improve_bid",
    "improve_ask",
)
"""Types of the self- and cross-exciting flow: market orders, limit orders at the best price, behind it and inside the spread,
cancels at the best price and behind it."""

FAST_DECAY: Final = 4.0
MIDDLE_DECAY: Final = 0.2
SLOW_DECAY: Final = 0.01
"""Decays (1/s) of the excitation: the fast one couples all types, the slower two give market orders their memory."""

DEPTH_LEVELS: Final = 12
"""Levels from the best price on that limit orders and cancels are drawn for."""


@dataclass(frozen=True, slots=True)
class Character:
    """What makes one instrument differ from another.

    Attributes
    ----------
    open_units : int
        Price around which the first session opens.
    half_spread_units : float
        Distance from the efficient price at which market makers quote, before rounding outwards to a tick.
    impact_units : float
        Move of the efficient price by one unexpected market order of average size.
    news_units : float
        Standard deviation of the news over 6.5 hours of normal activity.
    common_share : float
        Share of the news variance that all instruments have in common.
    """

    open_units: int
    half_spread_units: float
    impact_units: float
    news_units: float
    common_share: float


CHARACTERS: Final = (
    Character(10_000, 0.65, 0.85, 28.0, 0.50),
    Character(9_000, 0.65, 0.85, 28.0, 0.55),
    Character(11_000, 1.10, 1.25, 38.0, 0.45),
    Character(9_500, 0.65, 0.85, 28.0, 0.40),
    Character(10_500, 1.10, 1.25, 38.0, 0.50),
)
"""One character an instrument, taken by ``instrument_id`` modulo their number."""


@dataclass(frozen=True, slots=True)
class Lead:
    """An edge of the lead-lag graph: market orders of the leader excite the follower's, and its repricings pass on in part."""

    leader: int
    follower: int
    excitation: float
    """Follower's market orders that one of the leader's brings about, on average."""
    price_share: float
    """Part of the leader's informed move that the follower makes ``lag_s`` later."""
    lag_s: float


LEADS: Final = (
    Lead(0, 1, 0.06, 0.12, 2.0),
    Lead(0, 2, 0.05, 0.10, 3.0),
    Lead(1, 3, 0.05, 0.10, 2.5),
    Lead(2, 4, 0.06, 0.12, 2.0),
)
"""The lead-lag graph over characters; leaders have the smaller index. More instruments than characters repeat it."""
GROUP_LEAD: Final = (0.06, 0.12, 2.0)
"""Excitation, price share and lag by which the first instrument of all leads the first of each further group of characters."""


def lead_graph(instrument_ids: set[int]) -> list[Lead]:
    """Return the lead-lag edges between the instruments that are present."""
    size = len(CHARACTERS)
    edges = list(LEADS)
    for first in range(size, max(instrument_ids, default=0) + 1, size):
        edges.append(Lead(0, first, *GROUP_LEAD))
        edges += [replace(edge, leader=edge.leader + first, follower=edge.follower + first) for edge in LEADS]
    return [edge for edge in edges if {edge.leader, edge.follower} <= instrument_ids]


LEAD_DELAY_S: Final = 0.02
"""Time before a leader's market order can excite a follower's."""

REGIMES: Final = ("calm", "normal", "stressed")
REGIME_MEAN_S: Final = (1_500.0, 2_100.0, 600.0)
REGIME_ACTIVITY: Final = (0.75, 1.0, 1.6)
REGIME_NEWS_VARIANCE: Final = (0.6, 1.0, 2.2)
REGIME_HALF_SPREAD: Final = (0.0, 0.0, 0.4)
"""Latent regimes shared by all instruments: mean stay, and what they do to activity, news variance and quoted half spread."""

HEAT_HALF_LIFE_S: Final = (45.0, 900.0)
HEAT_LOG_VARIANCE: Final = (0.35, 0.15)
"""Heat of the market, shared by all instruments, mean 1: activity and news variance are multiplied by it, and informed episodes
start the sooner. Its logarithm is a sum of Ornstein-Uhlenbeck processes with these half lives and variances."""

EPISODES_PER_HOUR: Final = 36.0
EPISODE_FLOW_S: Final = (18.0, 30.0)
EPISODE_PUSH_S: Final = 3.0
EPISODE_REST_S: Final = 15.0
EPISODE_PEAK_RATE: Final = 3.2
"""Informed episodes: starts an hour, shortest and longest build-up, length of the repricing after it, pause before the next may
begin, informed market orders a second at the end of the build-up (the rate grows with the square of its elapsed share)."""

MOOD_HALF_LIFE_S: Final = 5_400.0
MOOD_UNITS_PER_S: Final = 1.5e-4
"""The slow mood behind options, posts and transfers, and its tilt of the price: too small to pay for a round trip."""

ADD_LOTS: Final = np.array([1, 2, 3, 4, 5, 8, 10, 15, 20, 50, 100], np.int64)
ADD_WEIGHTS: Final = np.array([0.28, 0.19, 0.12, 0.08, 0.12, 0.06, 0.08, 0.03, 0.025, 0.012, 0.003])
MARKET_LOTS: Final = np.array([1, 2, 3, 4, 5, 8, 10, 20, 50], np.int64)
MARKET_WEIGHTS: Final = np.array([0.5, 0.19, 0.09, 0.05, 0.08, 0.03, 0.04, 0.015, 0.005])
INFORMED_LOTS: Final = np.array([1, 2], np.int64)
INFORMED_WEIGHTS: Final = np.array([0.7, 0.3])
"""Sizes in lots with a heavy tail and round numbers; the informed trader slices small."""


def cumulative(weights: Float64) -> Float64:
    """Return the cumulative distribution of weights, ending at exactly 1."""
    total = np.cumsum(weights / weights.sum())
    total[-1] = 1.0
    return total


def fast_excitation() -> Float64:
    """Return the fast kernel's jumps, shape (12, 12): entry (i, j) is what an event of type j adds to the rate of type i.

    Written as branching ratios (children of type i an event of type j has on average) for the bid or buying half and
    mirrored, so that the two sides of the market are alike.
    """
    children = {
        (BUY, BUY): 0.13,
        (SELL, BUY): 0.02,
        (ADD_ASK, BUY): 0.30,
        (ADD_BID, BUY): 0.12,
        (CANCEL_ASK, BUY): 0.10,
        (ADD_BID, ADD_BID): 0.10,
        (CANCEL_BID, ADD_BID): 0.10,
        (ADD_BID, CANCEL_BID): 0.15,
        (CANCEL_BID, CANCEL_BID): 0.08,
        (DEEP_CANCEL_BID, DEEP_ADD_BID): 0.10,
        (DEEP_ADD_BID, DEEP_ADD_BID): 0.08,
        (DEEP_ADD_BID, DEEP_CANCEL_BID): 0.10,
        (ADD_BID, IMPROVE_BID): 0.60,
        (CANCEL_BID, IMPROVE_BID): 0.10,
    }
    jumps = np.zeros((HAWKES_TYPES, HAWKES_TYPES))
    for (child, parent), ratio in children.items():
        jumps[child, parent] = ratio * FAST_DECAY
        jumps[child ^ 1, parent ^ 1] = ratio * FAST_DECAY
    return jumps


MIDDLE_BRANCHING: Final = (0.22, 0.02)
SLOW_BRANCHING: Final = (0.34, 0.04)
"""Children of a market order on the slower clocks: of its own side, of the other side."""


def market_order_branching() -> float:
    """Return the mean number of market orders that one brings about directly (same instrument)."""
    jumps = fast_excitation()
    fast = (jumps[BUY, BUY] + jumps[SELL, BUY]) / FAST_DECAY
    return float(fast + sum(MIDDLE_BRANCHING) + sum(SLOW_BRANCHING))


def branching_table() -> list[tuple[str, str, float, float]]:
    """Return the true kernels of an instrument: child, parent, decay (1/s) and how many children an event has on average."""
    jumps = fast_excitation()
    rows = [
        (HAWKES_NAMES[i], HAWKES_NAMES[j], FAST_DECAY, float(jumps[i, j] / FAST_DECAY))
        for i in range(HAWKES_TYPES)
        for j in range(HAWKES_TYPES)
        if jumps[i, j] > 0.0
    ]
    for decay, (own, other) in ((MIDDLE_DECAY, MIDDLE_BRANCHING), (SLOW_DECAY, SLOW_BRANCHING)):
        for i in (BUY, SELL):
            rows += [(HAWKES_NAMES[i], HAWKES_NAMES[j], decay, own if i == j else other) for j in (BUY, SELL)]
    return rows


MARKET_ORDERS_PER_S: Final = 0.17
"""Uninformed market orders a second, both sides together, at normal activity."""
ADD_RATE: Final = 0.35
DEEP_ADD_RATE: Final = 0.22
CANCEL_RATE: Final = 0.055
DEEP_CANCEL_RATE: Final = 0.010
FAR_CANCEL_RATE: Final = 0.0025
"""Limit orders a second a side at the best price and behind it; cancels a second and order at, behind and far behind it."""
TARGET_LOTS: Final = 14.0
SHORTAGE_BOOST: Final = 3.0
TARGET_BEHIND: Final = 30
DEEP_SHORTAGE_BOOST: Final = 6.0
"""Liquidity replenishes: below these lots at the best price, or orders behind it, limit orders come there up to one plus the
boost times as fast."""
THIN_BEHIND: Final = 14
THIN_ADD_RATE: Final = 4.0
"""Below this many orders behind the best price, limit orders come there on the wall clock: at most at this rate, the more the
fewer are left. A fast move never outruns the book."""
FAR_SHARE: Final = 0.1
LAST_ORDERS: Final = 10
"""Share of the limit orders behind the best price that go far behind it; orders of a side below which nobody cancels or takes."""
IMPROVE_RATE: Final = 5.0
STALE_BAND: Final = 0.35
STALE_RATE: Final = 5.0
PICKED_RATE: Final = 25.0
ARBITRAGE_UNITS: Final = 0.2
RACE_RATE: Final = 10_000.0
ARBITRAGE_RATE: Final = 1_300.0
"""How quotes follow the efficient price, on the wall clock: makers fill an empty quote, cancel an order that has come nearer than
the half spread less the band, and cancel faster where the efficient price has passed it. An order that is dear to its owner,
beyond the efficient price by the arbitrage units and more, is worth racing for: its owner pulls it within a tenth of a
millisecond, unless an arbitrageur has been faster (one race in nine for an order alone)."""
RUN_OVER_CANCELS: Final = 0.5
"""Cancels a second on the side about to be run over, per informed market order a second."""
SWEEP_SHARE: Final = 0.10
REDUCE_SHARE: Final = 0.15
"""Of the uninformed market orders, those that go on through the touch, for up to twice its lots (the others are limit orders at
the touch or at the last price that their own move of the efficient price has passed; what they find no lots for stays there);
cancels at the best price that only reduce."""
