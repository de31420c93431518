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
    StrengthLine(2.0, 2.219, 0.9989),
    StrengthLine(2.0, 2.382, 1.0200),
    StrengthLine(3.0, 3.068, 0.9878),
    StrengthLine(2.0, 2.269, 1.0055),
    StrengthLine(3.0, 3.050, 0.9817),
)
"""By character."""


def informed_move_units(instrument: Instrument, strength: float) -> float:
    """Return the informed move, in price units, at which the oracle nets ``strength`` median spreads a round trip."""
    place = instrument.instrument_id % len(STRENGTH_MAP)
    line = STRENGTH_MAP[place]
    fees = 2e-6 * instrument.fees.taker_ppm * CHARACTERS[place].open_units
    return (strength * line.median_spread_units + line.cost_units + fees) / line.capture
