"""The stationary bootstrap on a shared clock, and the test of superior predictive ability built on it.

One set of resampled time blocks serves every series: all instruments are summed on the clock before they come here,
so a block carries the dependence between instruments, between models, and within each. A block sum is the difference
of two prefix sums, so a replication costs the number of its blocks, not the length of the series, and no index or
weight matrix is ever stored. The random numbers are counter based (SplitMix64): the same seed gives the same draws on
any machine and for any number of threads.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

Float64 = npt.NDArray[np.float64]

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)
_LOW: Final = np.uint64(0xFFFFFFFF)
_TO_UNIT: Final = 2.0**-32
_TRANSFORM_VALUES: Final = 2**22
"""Values that are Fourier transformed together: bounds the memory of long clocks."""


@njit(cache=True)
def _mix(counter: np.uint64) -> np.uint64:
    """Return the SplitMix64 output of a counter: 64 random bits."""
    z = counter * _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


@njit(cache=True)
def draw_blocks(
    n: int, block: float, seed: np.uint64, replication: int, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> int:
    """Fill the blocks of one replication and return how many there are.

    Parameters
    ----------
    n : int
        Length of the clock. The blocks' lengths sum to it.
    block : float
        Expected block length in intervals, at least 1; lengths are geometric with this mean (1: the iid bootstrap).
    seed, replication : int
        What the draws depend on, and nothing else.
    starts, ends : int64 arrays, shape (n,)
        Written: block k is ``[starts[k], ends[k])`` on the clock repeated twice (circular), ``0 <= start < n``.
    """
    counter = (seed + np.uint64(replication)) * np.uint64(0x632BE59BD9B4E019)
    one = np.uint64(1)
    size = np.uint64(n)
    per_log = 1.0 / math.log1p(-1.0 / block) if block > 1.0 else 0.0
    filled = 0
    count = 0
    while filled < n:
        # One output is two 32-bit numbers: where the block starts, and how long it is by inversion.
        counter += one
        bits = _mix(counter)
        start = int(((bits >> np.uint64(32)) * size) >> np.uint64(32))
        length = 1
        if block > 1.0:
            length += min(int(math.log((float(bits & _LOW) + 1.0) * _TO_UNIT) * per_log), n)
        length = min(length, n - filled)
        starts[count] = start
        ends[count] = start + length
        filled += length
        count += 1
    return count


@njit(cache=True)
def _bootstrap_means(prefix: Float64, n: int, block: float, replications: int, seed: np.uint64) -> Float64:
    columns = prefix.shape[1]
    out = np.zeros((replications, columns))
    starts = np.empty(n, dtype=np.int64)
    ends = np.empty(n, dtype=np.int64)
    for r in range(replications):
        count = draw_blocks(n, block, seed, r, starts, ends)
        for k in range(count):
            s = starts[k]
            e = ends[k]
            for j in range(columns):
                out[r, j] += prefix[e, j] - prefix[s, j]
        for j in range(columns):
            out[r, j] /= n
    return out


def bootstrap_means(centred: Float64, block: float, replications: int, seed: int) -> Float64:
    """Return the stationary bootstrap's means of every column, all columns under the same blocks.

    Parameters
    ----------
    centred : float64 array, shape (T, m)
        Series on one clock, each with mean zero (centring first keeps the prefix sums exact to rounding).
    block : float
        Expected block length in intervals of the clock, at least 1.
    replications, seed : int
        Number of replications, and what they depend on.

    Returns
    -------
    float64 array, shape (replications, m)
        Resampled means. Means of sums and differences of columns are the same sums and differences of these.

    References
    ----------
    Politis, Romano (1994). The stationary bootstrap. JASA 89(428).
    """
    n = len(centred)
    prefix = np.zeros((2 * n + 1, centred.shape[1]))
    np.cumsum(np.concatenate([centred, centred]), axis=0, out=prefix[1:])
    return _bootstrap_means(prefix, n, float(block), replications, np.uint64(seed % 2**64))


@njit(cache=True)
def _politis_white(x: Float64, n: int) -> tuple[float, float]:
    mean = 0.0
    for t in range(n):
        mean += x[t]
    mean /= n
    kn = max(5, int(math.log10(n)))
    m_max = math.ceil(math.sqrt(n)) + kn
    bound = 2.0 * math.sqrt(math.log10(n) / n)
    acv = np.zeros(m_max + 1)
    quiet = 0
    m = m_max
    known = m_max
    for lag in range(m_max + 1):
        if lag > known:
            break
        total = 0.0
        head = 0.0
        tail = 0.0
        for t in range(lag, n):
            a = x[t] - mean
            b = x[t - lag] - mean
            total += a * b
            head += a * a
            tail += b * b
        acv[lag] = total / n
        if lag == 0:
            if total == 0.0:
                return 0.0, 0.0
            continue
        if m == m_max:
            scale = math.sqrt(head * tail)
            quiet = quiet + 1 if scale == 0.0 or abs(total) / scale < bound else 0
            if quiet == kn:
                # Twice the first lag of the quiet run, as the authors' code has it (their text: one lag earlier).
                m = min(2 * (lag - kn + 1), m_max)
                known = m
    g = 0.0
    long_run = acv[0]
    for k in range(1, m + 1):
        weight = 1.0 if 2 * k <= m else 2.0 * (1.0 - k / m)
        g += 2.0 * weight * k * acv[k]
        long_run += 2.0 * weight * acv[k]
    if long_run <= 0.0:
        return 0.0, 0.0
    return (g * g / (long_run * long_run)) ** (1.0 / 3.0) * n ** (1.0 / 3.0), long_run


def politis_white(x: Float64) -> tuple[float, float]:
    """Return the stationary bootstrap's mean-square optimal block length of a series, and its long-run variance.

    Parameters
    ----------
    x : float64 array, shape (T,)
        Series without NaN.

    Returns
    -------
    length : float
        Intervals, between 0 (a constant series, or one shorter than 16) and ``min(3 sqrt(T), T / 3)``.
    long_run : float
        Flat-top estimate of T × the variance of the mean; 0 where there is none or it came out negative.

    References
    ----------
    Politis, White (2004). Automatic block-length selection for the dependent bootstrap. Econometric Reviews 23(1),
    with the correction of Patton, Politis, White (2009), Econometric Reviews 28(4).
    """
    n = len(x)
    if n < 16:
        return 0.0, 0.0
    cap = math.ceil(min(3.0 * math.sqrt(n), n / 3.0))
    length, long_run = _politis_white(np.ascontiguousarray(x, dtype=np.float64), n)
    return min(float(length), float(cap)), float(long_run)


def long_run_scale(centred: Float64, block: float) -> Float64:
    """Return the standard deviation of √T × the mean of each column, as the stationary bootstrap sees it in the limit.

    Parameters
    ----------
    centred : float64 array, shape (T, m)
        Series of mean zero.
    block : float
        Expected block length in intervals.

    Returns
    -------
    float64 array, shape (m,)
        Zero for a constant series.

    References
    ----------
    Hansen (2005), equation below (9): the kernel form of the bootstrap's variance.
    """
    n = len(centred)
    size = 1 << (2 * n - 1).bit_length()
    lag = np.arange(n)
    stay = 1.0 - 1.0 / max(block, 1.0)
    kappa = (1.0 - lag / n) * stay**lag + (lag / n) * stay ** (n - lag)
    kappa[0] = 1.0
    scale = np.zeros(centred.shape[1])
    together = max(1, _TRANSFORM_VALUES // size)
    for first in range(0, centred.shape[1], together):
        part = slice(first, first + together)
        spectrum = np.fft.rfft(centred[:, part], n=size, axis=0)
        autocovariance = np.fft.irfft(np.abs(spectrum) ** 2, n=size, axis=0)[:n] / n
        variance = 2.0 * (kappa @ autocovariance) - autocovariance[0]
        scale[part] = np.where(autocovariance[0] > 0.0, np.sqrt(np.maximum(variance, 0.0)), 0.0)
    return scale


@dataclass(frozen=True, slots=True)
class SpaResult:
    """The test that none of K series has a positive mean, with its stepwise form.

    Attributes
    ----------
    p_value : float
        Of the hypothesis that no series has a positive mean (Hansen's consistent p-value).
    statistic : float64 array, shape (K,)
        √T × mean ÷ long-run scale of each series.
    adjusted : float64 array, shape (K,)
        Stepwise p-values: rejecting every series whose value is at most α keeps the chance of any false rejection at α.
    """

    p_value: float
    statistic: Float64
    adjusted: Float64


def superior_predictive_ability(
    mean: Float64, scale: Float64, resampled: Float64, n: int, *, resampled_scale: Float64 | None = None
) -> SpaResult:
    """Test whether any of K series has a positive mean, and which.

    Parameters
    ----------
    mean : float64 array, shape (K,)
        Sample means.
    scale : float64 array, shape (K,)
        Long-run scales of the sample means. A series that never moves (scale zero, up to rounding) is not significant.
    resampled : float64 array, shape (R, K)
        Bootstrap means of the *centred* series (:func:`bootstrap_means`).
    n : int
        Length of the clock.
    resampled_scale : float64 array, shape (K,), optional
        Scales of the bootstrap means where they differ: with few blocks the bootstrap sees less variance than there is,
        and a statistic studentised by too small a scale rejects too often. Defaults to ``scale``.

    Returns
    -------
    SpaResult
        P-values count the sample itself as one replication, ``(1 + #{T* >= T}) / (1 + R)``: never zero, and exact in
        size when sample and replications are exchangeable.

    References
    ----------
    Hansen (2005). A test for superior predictive ability. J. Business & Economic Statistics 23(4). Stepwise: Romano,
    Wolf (2005), Econometrica 73(4); Hsu, Hsu, Kuan (2010), J. Empirical Finance 17(3).
    """
    own_scale = scale if resampled_scale is None else resampled_scale
    root = math.sqrt(n)
    moving = np.minimum(scale, own_scale) > 1e-9 * root * np.abs(mean)
    statistic = np.where(moving, root * mean / np.where(moving, scale, 1.0), 0.0)
    # A series that is worse than zero by more than the law of the iterated logarithm allows cannot win; recentring it
    # at its own mean (Hansen's g_c) takes it out of the maximum.
    worst = -math.sqrt(2.0 * math.log(math.log(max(n, 3))))
    shift = np.where(statistic >= worst, 0.0, statistic)
    null = np.where(moving, root * resampled / np.where(moving, own_scale, 1.0) + shift, 0.0)
    order = np.argsort(-statistic, kind="stable")
    maxima = np.maximum.accumulate(null[:, order[::-1]], axis=1)[:, ::-1]
    at_least = (np.maximum(maxima, 0.0) >= np.maximum(statistic[order], 0.0)).sum(axis=0)
    stepwise = np.maximum.accumulate((1.0 + at_least) / (1.0 + len(resampled)))
    adjusted = np.empty(len(mean))
    adjusted[order] = stepwise
    return SpaResult(float(stepwise[0]), statistic, adjusted)
