"""From the strength of the planted signal to the size of the informed move.

Strength is the oracle's net profit per round trip in median spreads (:mod:`marketdata.simulator.oracle` says who the oracle is).
Before fees that profit is very nearly linear in the informed move: ``capture * move - cost``. :data:`STRENGTH_MAP` holds both
numbers and the median spread for each character; ``python -m benchmarks.simulator --calibrate`` measures them anew.
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
    StrengthLine(2.0, 1.617, 0.9898),
    StrengthLine(2.0, 1.708, 1.0036),
    StrengthLine(3.0, 2.339, 1.0051),
    StrengthLine(2.0, 1.612, 0.9996),
    StrengthLine(3.0, 2.278, 0.9871),
)
"""By character: 20 sessions at strengths 0, 0.5, 1 and 2 of the map before, 15,000 round trips each; the standard error of a cost
is about 0.02 units."""


def informed_move_units(instrument: Instrument, strength: float) -> float:
    """Return the informed move, in price units, at which the oracle nets ``strength`` median spreads a round trip."""
    place = instrument.instrument_id % len(STRENGTH_MAP)
    line = STRENGTH_MAP[place]
    fees = 2e-6 * instrument.fees.taker_ppm * CHARACTERS[place].open_units
    return (strength * line.median_spread_units + line.cost_units + fees) / line.capture
