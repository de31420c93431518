"""From the strength of the planted signal to the size of the informed move.

Strength is the oracle's net profit per round trip in median spreads (:mod:`marketdata.simulator.oracle` says who the oracle is).
Before fees that profit is very nearly linear in the informed move: ``capture * move - cost``. :data:`STRENGTH_MAP` holds both
numbers and the median spread for each character; ``marketdata.simulator.oracle.measure_strength_map`` makes them anew, and a
slow test compares.
"""

from dataclasses import dataclass
from typing import Final

from marketdata.instruments import Instrument
from marketdata.simulator.parameters import CHARACTERS


@dataclass(frozen=True, slots=True)
class StrengthLine:
    """What the oracle's round trip brings in an instrument: ``capture * move - cost`` price units before fees."""

    median_spread_units: float
    cost_units: float
    capture: float


STRENGTH_MAP: Final = (
    StrengthLine(2.0, 1.667, 0.9935),
    StrengthLine(2.0, 1.657, 0.9952),
    StrengthLine(3.0, 2.280, 0.9918),
    StrengthLine(2.0, 1.646, 0.9952),
    StrengthLine(3.0, 2.301, 0.9920),
)
"""By character: 20 sessions at strengths 0, 0.5, 1 and 2 of the map before this one, 18,000 round trips each; the standard error
of a cost is about 0.02 units."""


def informed_move_units(instrument: Instrument, strength: float) -> float:
    """Return the informed move, in price units, at which the oracle nets ``strength`` median spreads a round trip."""
    place = instrument.instrument_id % len(STRENGTH_MAP)
    line = STRENGTH_MAP[place]
    fees = 2e-6 * instrument.fees.taker_ppm * CHARACTERS[place].open_units
    return (strength * line.median_spread_units + line.cost_units + fees) / line.capture
