"""Mergeable sketches of columns: how often each magnitude occurred, in integers.

A value falls into a bin by the bits of its float64 form: sign, exponent and the first :data:`MANTISSA_BITS` bits of the mantissa,
so that a bin is at most 1/32 of its value wide and no edge has to be known beforehand. Sketches of parts add up to the
sketch of the whole, exactly and in any order: days merge into training windows, and a stream cut anywhere gives the same sketch.

The idea of bins of constant relative width is that of Masson, Rim, Lee (2019), DDSketch, PVLDB 12(12); taking them from
the bits of the number in place of its logarithm costs no logarithm and makes bin edges exact.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

MANTISSA_BITS: Final = 5
"""32 bins an octave."""
LOWEST_EXPONENT: Final = -40
HIGHEST_EXPONENT: Final = 40
"""Magnitudes below 2**-40 count as zero, those of 2**40 and more fall into the outermost bins."""

PER_OCTAVE: Final = 1 << MANTISSA_BITS
SIDE: Final = (HIGHEST_EXPONENT - LOWEST_EXPONENT) * PER_OCTAVE
BINS: Final = 2 * SIDE + 1
"""Bins of one column: negative magnitudes from the largest, zero in the middle, positive ones to the largest."""
ZERO: Final = SIDE

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

_SHIFT: Final = 52 - MANTISSA_BITS
_LOW_BITS: Final = (LOWEST_EXPONENT + 1023) << MANTISSA_BITS


class SketchError(ValueError):
    """Two sketches are not of the same columns, or values do not fit the sketch."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """Counts of values of ``F`` columns.

    Attributes
    ----------
    columns : tuple of str
    counts : int64 array, shape (F, BINS)
        Values in each bin; NaN is not counted here.
    rows : int64 array, shape (F,)
        Values seen, NaN included.
    """

    columns: tuple[str, ...]
    counts: Int64
    rows: Int64

    @property
    def missing_share(self) -> Float64:
        """Share of NaN in each column, shape (F,); NaN where no row was seen."""
        known = self.counts.sum(axis=1)
        return np.divide(self.rows - known, self.rows, out=np.full(len(self.rows), np.nan), where=self.rows > 0)

    def quantile(self, column: int, share: float) -> float:
        """Return the value below which ``share`` of a column's known values lie, to the width of a bin; NaN if it has none."""
        below = np.cumsum(self.counts[column])
        if not below[-1]:
            return float("nan")
        return float(bin_centres()[int(np.searchsorted(below, share * below[-1], side="left"))])


def empty_sketch(columns: tuple[str, ...]) -> Sketch:
    """Return the sketch of no rows."""
    return Sketch(columns, np.zeros((len(columns), BINS), np.int64), np.zeros(len(columns), np.int64))


def sketch_rows(columns: tuple[str, ...], values: npt.NDArray[np.floating]) -> Sketch:
    """Return the sketch of rows.

    Parameters
    ----------
    values : float array, shape (n, F)
        float32 or float64; NaN means not known; infinities fall into the outermost bins.

    Raises
    ------
    SketchError
        If ``values`` has not one column a name.
    """
    sketch = empty_sketch(columns)
    return add_rows(sketch, values)


def add_rows(sketch: Sketch, values: npt.NDArray[np.floating]) -> Sketch:
    """Count rows into a sketch in place, and return it; see :func:`sketch_rows`."""
    if values.ndim != 2 or values.shape[1] != len(sketch.columns):
        raise SketchError(f"values of shape {values.shape} for {len(sketch.columns)} columns")
    if values.dtype == np.float32:
        _count_f32(np.ascontiguousarray(values), sketch.counts)
    else:
        _count_f64(np.ascontiguousarray(values, np.float64), sketch.counts)
    sketch.rows[:] += len(values)
    return sketch


def merge_sketches(sketches: list[Sketch]) -> Sketch:
    """Return the sketch of all rows together.

    Raises
    ------
    SketchError
        If there is none, or they are not of the same columns.
    """
    if not sketches:
        raise SketchError("no sketch to merge")
    columns = sketches[0].columns
    if any(each.columns != columns for each in sketches):
        raise SketchError("sketches of different columns do not merge")
    counts = sketches[0].counts.copy()
    rows = sketches[0].rows.copy()
    for each in sketches[1:]:
        counts += each.counts
        rows += each.rows
    return Sketch(columns, counts, rows)


def bin_edges() -> Float64:
    """Return the edges between bins, shape (BINS - 1,), ascending; the outermost bins are open."""
    place = np.arange(SIDE, dtype=np.int64)
    exponent, mantissa = place // PER_OCTAVE + LOWEST_EXPONENT, place % PER_OCTAVE
    lower = np.ldexp(1.0 + mantissa / PER_OCTAVE, exponent)
    return np.concatenate((-lower[::-1], lower))


def bin_centres() -> Float64:
    """Return a value for each bin, shape (BINS,): its middle, 0 for the zero bin, the finite edge for the outermost ones."""
    edges = bin_edges()
    middle = (edges[1:] + edges[:-1]) / 2
    middle[ZERO - 1] = 0.0
    return np.concatenate((edges[:1], middle, edges[-1:]))


@njit(cache=True)
def _place(bits: int) -> int:
    """Return the bin of a float64, given by its bits; -1 for NaN."""
    magnitude = bits & 0x7FFF_FFFF_FFFF_FFFF
    if magnitude > 0x7FF0_0000_0000_0000:
        return -1
    step = (magnitude >> _SHIFT) - _LOW_BITS
    if step < 0:
        return ZERO
    if step >= SIDE:
        step = SIDE - 1
    return ZERO + 1 + step if bits >= 0 else ZERO - 1 - step


@njit(cache=True)
def _count_f64(values: Float64, counts: Int64) -> None:
    bits = values.view(np.int64)
    for row in range(bits.shape[0]):
        for column in range(bits.shape[1]):
            place = _place(bits[row, column])
            if place >= 0:
                counts[column, place] += 1


@njit(cache=True)
def _count_f32(values: npt.NDArray[np.float32], counts: Int64) -> None:
    one = np.empty(1, np.float64)
    bits = one.view(np.int64)
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            one[0] = values[row, column]
            place = _place(bits[0])
            if place >= 0:
                counts[column, place] += 1
