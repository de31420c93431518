"""What a grid's step is, and decimal digits to integers on it, without a float on the way.

A venue writes ``"61737.63000000"``; the instrument's grid says that a price unit is 0.01; the event holds 6_173_763. Digits are
counted, never rounded: a number between two steps of the grid is refused. ``exact`` and ``json_scan`` read the same numbers in
compiled code, by the same steps.
"""

from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Final, NamedTuple

from marketdata.instruments import Instrument

MAX_DIGITS: Final = 18
"""Digits that fit into an int64 whatever they are."""


MAX_TEXT: Final = 400
"""Characters of a number; nobody pads one so far."""


class OffGrid(ValueError):
    """A number is not a multiple of the grid's step, or is no plain decimal number at all."""


class Step(NamedTuple):
    """A grid's step as an exact decimal: ``units * 10 ** -places``, so 0.25 is (25, 2) and 10 is (10, 0)."""

    units: int
    places: int

    def __str__(self) -> str:
        """Return the step as a decimal number."""
        return format(Decimal(self.units).scaleb(-self.places), "f")


@lru_cache(maxsize=4_096)
def step_of(size: float) -> Step:
    """Return the exact decimal that a step given as a float stands for (0.1 means one tenth).

    Raises
    ------
    ValueError
        If it is not positive, or has more than 18 digits.
    """
    sign, digits, exponent = Decimal(repr(float(size))).normalize().as_tuple()
    if sign or not isinstance(exponent, int) or not any(digits):
        raise ValueError(f"a grid's step must be a positive number, not {size}")
    whole = int("".join(map(str, digits)))
    step = Step(whole * 10**exponent, 0) if exponent > 0 else Step(whole, -exponent)
    if step.places > MAX_DIGITS or step.units >= 10**MAX_DIGITS:
        raise ValueError(f"a grid's step has at most {MAX_DIGITS} digits, not {size}")
    return step


def to_units(text: str, step: Step) -> int:
    """Return how many steps a decimal number is.

    Parameters
    ----------
    text : str
        Digits with at most one point, and perhaps an exponent (``1.5e-05``), as JSON writes numbers; not negative.
    step : Step

    Raises
    ------
    OffGrid
        If the text is no such number, is too large for an int64, or lies between two steps.
    """
    if len(text) > MAX_TEXT:
        raise OffGrid(f"{text[:40]}… is too long for a number")
    whole, point, fraction = text.partition(".")
    if not (whole.isdecimal() and text.isascii() and (fraction.isdecimal() if point else True)):
        whole, fraction = _plain(text)
    fraction = fraction.rstrip("0")
    if len(fraction) > step.places:
        raise OffGrid(f"{text} is not a multiple of {step}")
    scaled = int(whole + fraction) * 10 ** (step.places - len(fraction))
    units, rest = divmod(scaled, step.units)
    if rest:
        raise OffGrid(f"{text} is not a multiple of {step}")
    if scaled >= 10**MAX_DIGITS:
        raise OffGrid(f"{text} in steps of {step} has more than {MAX_DIGITS} digits")
    return units


def _plain(text: str) -> tuple[str, str]:
    """Return digits before and after the point of a number that JSON allows but that is not plain digits."""
    try:
        number = Decimal(text) if text.isascii() and "_" not in text and text == text.strip() else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or number.is_signed() or text[:1] in ".+" or text[-1:] == ".":
        raise OffGrid(f"{text[:40]!r} is not a decimal number of 0 or more")
    if not -MAX_DIGITS <= number.adjusted() <= MAX_DIGITS:
        raise OffGrid(f"{text[:40]} is out of range")
    whole, _, fraction = format(number, "f").partition(".")
    return whole, fraction


def places_of(text: str) -> int:
    """Return how many decimal places a number has that are not trailing zeros.

    Raises
    ------
    OffGrid
        If it is no decimal number of 0 or more, or has more digits than any grid.
    """
    if len(text) > MAX_TEXT:
        raise OffGrid(f"{text[:40]}… is too long for a number")
    whole, point, fraction = text.partition(".")
    if not (whole.isdecimal() and text.isascii() and (fraction.isdecimal() if point else True)):
        whole, fraction = _plain(text)
    places = len(fraction.rstrip("0"))
    if len(whole.lstrip("0")) + places > MAX_DIGITS:
        raise OffGrid(f"{text[:40]} has more than {MAX_DIGITS} digits")
    return places


def inferred_instrument(symbol: str, number: int, venue: str, price_step: float, lot_size: float) -> Instrument:
    """Return an instrument on a grid that was found in its own frames.

    Its tick is one price unit: few frames cannot tell a coarser one. Where one price unit of one lot is worth less than
    1e-9 of the quote currency, ``unit_nanos`` is 1 and the instrument can be read and studied, but its ledger would be wrong:
    give such an instrument a lot that orders are really sent in.

    Parameters
    ----------
    symbol : str
        The venue's own; signs that paths cannot hold become ``-``.
    """
    price, lot = step_of(price_step), step_of(lot_size)
    nanos = Decimal(price.units * lot.units).scaleb(9 - price.places - lot.places)
    return Instrument(
        symbol="".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "-" for c in symbol),
        instrument_id=number,
        venue=venue,
        unit_nanos=max(1, int(nanos)),
        price_decimals=price_step,
        lot_size=lot_size,
    )
