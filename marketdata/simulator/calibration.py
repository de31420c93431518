"""From the strength of the planted signal to the size of the informed move, and how that map was measured."""

from typing import Final

STRENGTH_MAP: Final = (
    (2.0, 2.6, 1.0),
    (2.0, 2.6, 1.0),
    (3.0, 3.6, 1.0),
    (2.0, 2.6, 1.0),
    (3.0, 3.6, 1.0),
)
"""By character: median spread, cost, capture."""


def informed_move_units(instrument_id: int, strength: float) -> float:
    """Return the informed move, in price units, at which the oracle nets ``strength`` median spreads a round trip."""
    spread, cost, capture = STRENGTH_MAP[instrument_id % len(STRENGTH_MAP)]
    return (cost + strength * spread) / capture
