"""Exact numbers in compiled code: decimal text and scaled integers to price units and lots, without a float on the way.

What a step is, and how Python reads one number on it, is said in ``marketdata.codecs.decimals``; here columns are read.

A grid is ``(num, den, digits)`` with which ``units = value * num / den``; ``digits`` is d where the step is 10**-d, else -1:
most grids are powers of ten, and then no division is needed. A value that does not come out whole is off the grid and is
refused, never rounded.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.codecs.decimals import MAX_DIGITS, step_of
from marketdata.instruments import Instrument

EXACT: Final = 0
NOT_A_NUMBER: Final = 1
OFF_GRID: Final = 2
TOO_LARGE: Final = 3
"""Outcome of a conversion."""

PROBLEMS: Final = {NOT_A_NUMBER: "is not a number", OFF_GRID: "is off the grid", TOO_LARGE: "is too large"}

MAX_INT: Final = 2**63 - 1
MAX_POWER: Final = MAX_DIGITS

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]

MAX_TENTH: Final = (MAX_INT - 9) // 10
_POWERS: Final = 10 ** np.arange(MAX_POWER + 1, dtype=np.int64)
_LIMITS: Final = MAX_INT // _POWERS


class Grids(NamedTuple):
    """Grids and numbers of instruments in the order of their slots, for kernels.

    Attributes
    ----------
    price, size : int64 array, shape (n, 3)
        ``num``, ``den`` and ``digits`` of each instrument.
    instrument_id : int64 array, shape (n,)
        Number used in events.
    """

    price: Int64
    size: Int64
    instrument_id: Int64


def grid_of(step: float, scale: int = 1) -> tuple[int, int, int]:
    """Return the grid of a step, which stands for the decimal number that :func:`~marketdata.codecs.decimals.step_of` says.

    ``scale`` is how many of the text's units make one (10,000 where prices are in 1/10,000 of a dollar).

    Raises
    ------
    ValueError
        If the step is not positive, or has more than 18 digits.
    """
    exact = step_of(step)
    ratio = Fraction(exact.units, 10**exact.places) * scale
    num, den = ratio.denominator, ratio.numerator
    if max(num, den) > 10**MAX_DIGITS:
        raise ValueError(f"a grid's step has at most {MAX_DIGITS} digits, not {step} by {scale}")
    digits = len(str(num)) - 1
    return num, den, digits if den == 1 and num == 10**digits else -1


def grids_of(instruments: Sequence[Instrument]) -> Grids:
    """Return the grids of instruments, slot by slot."""
    return Grids(
        np.array([grid_of(item.price_decimals) for item in instruments], np.int64).reshape(-1, 3),
        np.array([grid_of(item.lot_size) for item in instruments], np.int64).reshape(-1, 3),
        np.array([item.instrument_id for item in instruments], np.int64),
    )


@njit(cache=True)
def scaled_to_units(value: int, power: int, num: int, den: int) -> tuple[int, int]:
    """Return (units, outcome) of ``value * 10**-power`` on a grid; power at most 18."""
    negative = value < 0
    rest = -value if negative else value
    while power > 0 and rest % 10 == 0:
        rest //= 10
        power -= 1
    scale = 1
    while power > 0 and num % 10 == 0:
        num //= 10
        power -= 1
    for _ in range(power):
        if scale > MAX_INT // 10:
            return 0, OFF_GRID
        scale *= 10
    if rest > MAX_INT // num:
        return 0, TOO_LARGE
    rest *= num
    if scale > MAX_INT // den:
        return 0, OFF_GRID
    scale *= den
    if rest % scale != 0:
        return 0, OFF_GRID
    rest //= scale
    return (-rest if negative else rest), EXACT


@njit(cache=True)
def integer_to_units(value: int, power: int, num: int, den: int, digits: int) -> tuple[int, int]:
    """Return (units, outcome) of ``value * 10**-power`` on a grid, without a division where the grid is a power of ten."""
    if digits >= power:
        if digits - power > MAX_POWER or abs(value) > _LIMITS[digits - power]:
            return 0, TOO_LARGE
        return value * _POWERS[digits - power], EXACT
    return scaled_to_units(value, power, num, den)


@njit(cache=True)
def decimal_to_units(data: Bytes, start: int, end: int, num: int, den: int, digits: int) -> tuple[int, int]:
    """Return (units, outcome) of the decimal text ``data[start:end]`` on a grid.

    Text is an optional sign, digits with at most one point, and an optional exponent (``1.5``, ``-2``, ``1e-05``).
    """
    k = start
    negative = False
    if k < end and (data[k] == 45 or data[k] == 43):
        negative = data[k] == 45
        k += 1
    mantissa = 0
    power = 0
    seen = 0
    zeros = 0
    point = False
    while k < end:
        c = data[k]
        if 48 <= c <= 57:
            seen += 1
            if c == 48 and point:
                zeros += 1  # trailing zeros of a fraction are only counted
            else:
                while zeros > 0:
                    if mantissa > MAX_TENTH:
                        return 0, TOO_LARGE
                    mantissa *= 10
                    power += 1
                    zeros -= 1
                if mantissa > MAX_TENTH:
                    return 0, TOO_LARGE
                mantissa = mantissa * 10 + (c - 48)
                if point:
                    power += 1
        elif c == 46 and not point:
            point = True
        else:
            break
        k += 1
    if seen == 0:
        return 0, NOT_A_NUMBER
    if k < end:
        if (data[k] != 101 and data[k] != 69) or k + 1 >= end:
            return 0, NOT_A_NUMBER
        k += 1
        down = data[k] == 45
        if data[k] == 45 or data[k] == 43:
            k += 1
        if k >= end or end - k > 3:
            return 0, NOT_A_NUMBER
        exponent = 0
        while k < end:
            if data[k] < 48 or data[k] > 57:
                return 0, NOT_A_NUMBER
            exponent = exponent * 10 + (data[k] - 48)
            k += 1
        power += exponent if down else -exponent
    if mantissa == 0:
        return 0, EXACT
    while power < 0:
        if mantissa > MAX_TENTH:
            return 0, TOO_LARGE
        mantissa *= 10
        power += 1
    if digits >= power:
        if digits - power > MAX_POWER or mantissa > _LIMITS[digits - power]:
            return 0, TOO_LARGE
        mantissa *= _POWERS[digits - power]
        return (-mantissa if negative else mantissa), EXACT
    return scaled_to_units(-mantissa if negative else mantissa, power, num, den)


@njit(cache=True)
def decimals_to_units(data: Bytes, offsets: Int64, num: int, den: int, digits: int, out: Int64) -> tuple[int, int]:
    """Convert texts ``data[offsets[k]:offsets[k + 1]]`` into ``out``; return (first bad row or -1, outcome).

    An empty text gives 0.
    """
    for k in range(len(out)):
        if offsets[k] == offsets[k + 1]:
            out[k] = 0
            continue
        out[k], outcome = decimal_to_units(data, offsets[k], offsets[k + 1], num, den, digits)
        if outcome != EXACT:
            return k, outcome
    return -1, EXACT
