"""From the strength of the planted signal to the size of the informed move.

Strength is the oracle's net profit per round trip in median spreads (:mod:`marketdata.simulator.oracle` says who the oracle is).
Before fees that profit is very nearly linear in the informed move: ``capture * move - cost``. The cost is what the oracle pays
for getting in and out, and it depends on the market's pace: the oracle waits ten seconds for a narrow spread, and where little
happens the spread it finds is the spread it pays. :data:`STRENGTH_COSTS` holds the cost by pace and character, measured;
between two paces it is a line in the pace's logarithm. ``marketdata.simulator.oracle.measure_strength_map`` makes them anew,
and a slow test compares.
"""

from dataclasses import dataclass
from math import log
from typing import Final

from marketdata.instruments import Instrument
from marketdata.simulator.parameters import CHARACTERS


@dataclass(frozen=True, slots=True)
class StrengthLine:
    """What the oracle's round trip brings in an instrument: ``capture * move - cost`` price units before fees."""

    median_spread_units: float
    cost_units: float
    capture: float


MEDIAN_SPREADS: Final = (2.0, 2.0, 3.0, 2.0, 3.0)
"""Price units, by character; the same at every pace."""
CAPTURES: Final = (0.9935, 0.9952, 0.9918, 0.9952, 0.9920)
"""By character: 20 sessions at strengths 0, 0.5, 1 and 2, 18,000 round trips each, before the market ran hot and cold; 6,200
round trips each since then agree within their errors."""
PACES: Final = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Events of a session relative to 20,000 an hour."""
STRENGTH_COSTS: Final = (
    (2.172, 2.163, 2.938, 2.178, 2.856),
    (1.982, 1.965, 2.713, 1.934, 2.663),
    (1.747, 1.683, 2.398, 1.775, 2.473),
    (1.507, 1.495, 2.217, 1.449, 2.145),
    (1.278, 1.283, 2.051, 1.217, 1.946),
    (1.177, 1.273, 1.946, 1.225, 1.680),
)
"""By pace and character, price units: the mean of ``capture * move - gross`` at strengths 0, 1 and 2 of the map before this one,
seed 61003, 2,000 to 6,300 round trips each; standard errors are 0.02 to 0.03 up to a pace of 1, 0.05 and 0.07 for the wide
spreads at 2, 0.08 and 0.12 at 4."""


def strength_line(character: int, pace: float = 1.0) -> StrengthLine:
    """Return the line of a character at a pace; beyond the slowest and the fastest that were measured, theirs.

    Parameters
    ----------
    character : int
        Index into ``CHARACTERS``.
    pace : float
        Events of the session relative to 20,000 an hour, above 0.
    """
    upper = next((k for k, known in enumerate(PACES) if known >= pace), len(PACES) - 1)
    lower = max(upper - 1, 0) if PACES[upper] > pace else upper
    share = 0.0 if upper == lower else log(pace / PACES[lower]) / log(PACES[upper] / PACES[lower])
    share = min(max(share, 0.0), 1.0)
    cost = (1.0 - share) * STRENGTH_COSTS[lower][character] + share * STRENGTH_COSTS[upper][character]
    return StrengthLine(MEDIAN_SPREADS[character], cost, CAPTURES[character])


STRENGTH_MAP: Final = tuple(strength_line(place) for place in range(len(CHARACTERS)))
"""The lines at the default pace, by character."""


def informed_move_units(instrument: Instrument, strength: float, pace: float = 1.0) -> float:
    """Return the informed move, in price units, at which the oracle nets ``strength`` median spreads a round trip."""
    place = instrument.instrument_id % len(CHARACTERS)
    line = strength_line(place, pace)
    fees = 2e-6 * instrument.fees.taker_ppm * CHARACTERS[place].open_units
    return (strength * line.median_spread_units + line.cost_units + fees) / line.capture
