"""How long orders, cancels, changes and answers take: constant, drawn from quantiles, or as recorded; one model a venue.

A connection keeps its order: nothing arrives before what was sent on it earlier, however long that took. Draws are made from a
counter and a seed, not from a generator, so that cutting the stream anywhere draws the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

Int64 = npt.NDArray[np.int64]

LEG_NEW: Final = 0
LEG_CANCEL: Final = 1
LEG_MODIFY: Final = 2
LEG_ANSWER: Final = 3
LEGS: Final = 4
"""What takes its time: a new order, a cancel, a change to the venue; an answer to us."""
LEG_COLUMNS: Final = 3

_CONSTANT: Final = 0
_QUANTILES: Final = 1
_RECORDED: Final = 2


@dataclass(frozen=True, slots=True)
class ConstantLatency:
    """Always the same."""

    ns: int


@dataclass(frozen=True, slots=True)
class QuantileLatency:
    """Drawn from an empirical distribution.

    ``ns`` are its quantiles at equally spaced probabilities from 0 to 1, ascending; between two of them it is linear.
    """

    ns: tuple[int, ...]

    @classmethod
    def of(cls, measured_ns: npt.ArrayLike, quantiles: int = 101) -> "QuantileLatency":
        """Return the distribution of measured latencies, in nanoseconds."""
        found = np.quantile(np.asarray(measured_ns, np.float64), np.linspace(0.0, 1.0, quantiles))
        return cls(tuple(int(ns) for ns in np.rint(found)))


@dataclass(frozen=True, slots=True)
class RecordedLatency:
    """Interpolated between recorded ones: what was sent at ``at_ns`` took ``ns``; outside of them as the nearest."""

    at_ns: tuple[int, ...]
    ns: tuple[int, ...]


Latency = ConstantLatency | QuantileLatency | RecordedLatency


@dataclass(frozen=True, slots=True)
class LatencyModel:
    """The latencies of one venue; ``seed`` decides what is drawn.

    Raises
    ------
    ValueError
        If a latency is negative, quantiles or times are not ascending, or lengths differ.
    """

    new: Latency
    cancel: Latency
    modify: Latency
    answer: Latency
    seed: int = field(default=1)

    def __post_init__(self) -> None:
        for name, leg in (("new", self.new), ("cancel", self.cancel), ("modify", self.modify), ("answer", self.answer)):
            _check(name, leg)

    @classmethod
    def constant(cls, order_ns: int, answer_ns: int) -> "LatencyModel":
        """Return constant latencies, one for everything sent and one for every answer."""
        there = ConstantLatency(order_ns)
        return cls(there, there, there, ConstantLatency(answer_ns))

    @classmethod
    def from_triples(
        cls, sent_ns: npt.ArrayLike, venue_ns: npt.ArrayLike, answered_ns: npt.ArrayLike
    ) -> "LatencyModel":
        """Return the latencies that recorded orders had, interpolated in time.

        Parameters
        ----------
        sent_ns, venue_ns, answered_ns : int64 arrays, shape (n,)
            When each was sent, reached the venue, and its answer reached us, ordered by ``sent_ns``. The venue's clock may
            differ from ours by a constant; only its offset's effect on the two legs would differ, never their sum.
        """
        sent, venue, answered = (np.asarray(times, np.int64) for times in (sent_ns, venue_ns, answered_ns))
        there = RecordedLatency(tuple(sent.tolist()), tuple((venue - sent).tolist()))
        return cls(there, there, there, RecordedLatency(tuple(venue.tolist()), tuple((answered - venue).tolist())))

    def legs(self) -> tuple[Latency, Latency, Latency, Latency]:
        """Return the latencies in the order of the ``LEG_*`` constants."""
        return self.new, self.cancel, self.modify, self.answer


def _check(name: str, leg: Latency) -> None:
    values = (leg.ns,) if isinstance(leg, ConstantLatency) else leg.ns
    if not values or min(values) < 0:
        raise ValueError(f"latency {name}: needs values, none of them negative")
    if isinstance(leg, QuantileLatency) and (len(values) < 2 or any(b < a for a, b in pairwise(values))):
        raise ValueError(f"latency {name}: needs two quantiles or more, ascending")
    if isinstance(leg, RecordedLatency):
        times = leg.at_ns
        if len(times) != len(values) or any(b < a for a, b in pairwise(times)):
            raise ValueError(f"latency {name}: needs as many times as latencies, ascending")


def latency_tables(models: Sequence[LatencyModel]) -> tuple[Int64, Int64]:
    """Return what kernels read.

    Returns
    -------
    legs : int64 array, shape (I, LEGS + 1, 3)
        Kind, place in the table (or the constant itself) and entries of each leg; the last row holds the seed.
    table : int64 array
    """
    legs = np.zeros((len(models), LEGS + 1, LEG_COLUMNS), np.int64)
    table: list[int] = []
    placed: dict[Latency, tuple[int, int, int]] = {}
    for slot, model in enumerate(models):
        legs[slot, LEGS, 0] = model.seed
        for k, leg in enumerate(model.legs()):
            if leg not in placed:
                if isinstance(leg, ConstantLatency):
                    placed[leg] = (_CONSTANT, leg.ns, 1)
                elif isinstance(leg, QuantileLatency):
                    placed[leg] = (_QUANTILES, len(table), len(leg.ns))
                    table += leg.ns
                else:
                    placed[leg] = (_RECORDED, len(table), len(leg.ns))
                    table += (*leg.at_ns, *leg.ns)
            legs[slot, k] = placed[leg]
    return legs, np.array(table or [0], np.int64)


@njit(cache=True)
def _hash(seed: int, leg: int, count: int) -> Any:
    """Return 32 well-mixed bits (splitmix64)."""
    z = (
        np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15)
        + np.uint64(count) * np.uint64(0xD1342543DE82EF95)
        + np.uint64(leg + 1)
    )
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64((z ^ (z >> np.uint64(31))) >> np.uint64(32))


@njit(cache=True)
def latency_ns(legs: Int64, table: Int64, slot: int, leg: int, at_ns: int, count: int) -> int:
    """Return how long something takes that starts at ``at_ns`` and is the ``count``-th of its kind."""
    kind, place, entries = legs[slot, leg, 0], legs[slot, leg, 1], legs[slot, leg, 2]
    if kind == _CONSTANT:
        return place
    if kind == _QUANTILES:
        at = _hash(legs[slot, LEGS, 0], leg, count) * (entries - 1)
        k, rest = at >> 32, at & 0xFFFFFFFF
        low, high = table[place + k], table[place + k + 1]
        return low + (((high - low) * (rest >> 8)) >> 24)
    low, high = 0, entries - 1
    if at_ns <= table[place]:
        return table[place + entries]
    if at_ns >= table[place + high]:
        return table[place + entries + high]
    while high - low > 1:
        middle = (low + high) >> 1
        if table[place + middle] <= at_ns:
            low = middle
        else:
            high = middle
    before, after = table[place + low], table[place + high]
    first, second = table[place + entries + low], table[place + entries + high]
    return first + np.int64(float(second - first) * (float(at_ns - before) / float(after - before)))
