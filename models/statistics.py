"""Sharpe ratios with their errors, corrected for how many were tried: Lo, PSR, DSR, CSCV.

Conventions (they differ between papers, so they are said here once): a Sharpe ratio is per interval of the series it
is made from; ``kurtosis`` is raw (3 for a Gaussian); T counts non-overlapping intervals.
"""

import itertools
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

EULER_GAMMA: Final = 0.5772156649015329
_NORMAL: Final = NormalDist()
PBO_MIN_CONFIGURATIONS: Final = 10
PBO_BLOCKS: Final = 16


@dataclass(frozen=True, slots=True)
class Sharpe:
    """A Sharpe ratio per interval, with what is needed to judge it.

    Attributes
    ----------
    ratio : float
        Mean ÷ standard deviation of the intervals' returns; NaN when they do not vary or are fewer than 3.
    error : float
        Standard error by Lo (2002): generalised method of moments with a Newey-West covariance, so neither a Gaussian
        nor an independent series is assumed.
    lags : int
        Newey-West lags used.
    intervals : int
        T.
    period_ns : int
        Length of an interval.
    skewness, kurtosis : float
        Third and fourth standardised moments; kurtosis is raw.
    annual : float
        The ratio per year: Lo's η(q), which takes the autocorrelation into account, times the ratio.
    """

    ratio: float
    error: float
    lags: int
    intervals: int
    period_ns: int
    skewness: float
    kurtosis: float
    annual: float


def newey_west_lags(n: int) -> int:
    """Return the usual number of Newey-West lags, ``4 (T / 100)^(2/9)``, at most T − 1."""
    return max(0, min(n - 1, int(4.0 * (n / 100.0) ** (2.0 / 9.0)))) if n > 1 else 0


def sharpe(returns: Float64, *, period_ns: int, periods_per_year: float) -> Sharpe:
    """Return the Sharpe ratio of a series of returns or of net profits per interval.

    Parameters
    ----------
    returns : float64 array, shape (T,)
        One value an interval, net of costs; no NaN. Scale does not matter.
    period_ns : int
        Length of the interval, kept beside the ratio so that it is never read without it.
    periods_per_year : float
        Intervals in a year of trading.

    References
    ----------
    Lo (2002). The statistics of Sharpe ratios. Financial Analysts Journal 58(4), equations 13-20.
    """
    n = len(returns)
    deviation = float(np.std(returns)) if n else 0.0
    if n < 3 or deviation <= 1e-300:
        nan = math.nan
        return Sharpe(nan, nan, 0, n, period_ns, nan, nan, nan)
    mean = float(np.mean(returns))
    centred = (returns - mean) / deviation
    ratio = mean / deviation
    # GMM on (mean, variance): the influence of one observation on the ratio, in units of the deviation.
    influence = centred - 0.5 * ratio * (centred**2 - 1.0)
    lags = newey_west_lags(n)
    error = math.sqrt(max(_newey_west(influence, lags), 0.0) / n)
    annual = ratio * lo_factor(centred, periods_per_year, lags)
    return Sharpe(ratio, error, lags, n, period_ns, float(np.mean(centred**3)), float(np.mean(centred**4)), annual)


def lo_factor(centred: Float64, periods: float, lags: int) -> float:
    """Return η(q): what a Sharpe ratio per interval is multiplied by to be one per ``q`` intervals.

    ``q / sqrt(q + 2 Σ (q − k) ρ_k)`` with autocorrelations up to ``lags`` (zero beyond); √q for an independent
    series. The series must have mean zero; one whose variance over q intervals comes out negative falls back to √q.

    References
    ----------
    Lo (2002), equation 20.
    """
    total = float(centred @ centred)
    if total <= 0.0:
        return math.nan
    spread = periods
    for k in range(1, min(lags, math.ceil(periods) - 1, len(centred) - 1) + 1):
        spread += 2.0 * (periods - k) * float(centred[k:] @ centred[:-k]) / total
    return periods / math.sqrt(spread) if spread > 0.0 else math.sqrt(periods)


def _newey_west(x: Float64, lags: int) -> float:
    """Return the long-run variance of a series of mean zero with Bartlett weights."""
    n = len(x)
    total = float(x @ x) / n
    for k in range(1, lags + 1):
        total += 2.0 * (1.0 - k / (lags + 1.0)) * float(x[k:] @ x[:-k]) / n
    return total


def probabilistic_sharpe(ratio: float, benchmark: float, intervals: int, skewness: float, kurtosis: float) -> float:
    """Return the probability that the true Sharpe ratio exceeds a benchmark.

    ``Φ((SR − SR*) √(T−1) / √(1 − γ3 SR + (γ4 − 1)/4 SR²))``; all ratios per interval; NaN where the inputs are not
    known.

    References
    ----------
    Bailey, López de Prado (2012). The Sharpe ratio efficient frontier. J. Risk 15(2).
    """
    spread = 1.0 - skewness * ratio + (kurtosis - 1.0) / 4.0 * ratio**2
    if not (math.isfinite(ratio) and math.isfinite(spread)) or spread <= 0.0 or intervals < 2:
        return math.nan
    return _NORMAL.cdf((ratio - benchmark) * math.sqrt(intervals - 1.0) / math.sqrt(spread))


def minimum_track_record(
    ratio: float, benchmark: float, skewness: float, kurtosis: float, *, confidence: float = 0.95
) -> float:
    """Return the number of intervals from which on a Sharpe ratio is above a benchmark with some confidence.

    ``1 + (1 − γ3 SR + (γ4 − 1)/4 SR²) (Φ⁻¹(confidence) / (SR − SR*))²``; infinite where the ratio is not above the
    benchmark, NaN where it is not known. All ratios per interval, which are taken to be independent.

    References
    ----------
    Bailey, López de Prado (2012). The Sharpe ratio efficient frontier. J. Risk 15(2), equation 11.
    """
    spread = 1.0 - skewness * ratio + (kurtosis - 1.0) / 4.0 * ratio**2
    if not (math.isfinite(ratio) and math.isfinite(spread)) or spread <= 0.0:
        return math.nan
    if ratio <= benchmark:
        return math.inf
    return 1.0 + spread * (_NORMAL.inv_cdf(confidence) / (ratio - benchmark)) ** 2


def expected_best_sharpe(trials: float, variance: float) -> float:
    """Return the Sharpe ratio that the best of ``trials`` worthless strategies is expected to show.

    ``√V[SR] ((1 − γ) Φ⁻¹(1 − 1/N) + γ Φ⁻¹(1 − 1/(N e)))``; zero for a single trial.

    Raises
    ------
    ValueError
        If fewer than one trial is claimed or the variance is negative.
    """
    if trials < 1.0 or variance < 0.0:
        raise ValueError(f"{trials} trials with variance {variance}: need at least one trial and no negative variance")
    if trials == 1.0:
        return 0.0
    first = _NORMAL.inv_cdf(1.0 - 1.0 / trials)
    second = _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    # Between one and two trials the formula dips below zero; the best of several is never expected below one's mean.
    return max(0.0, math.sqrt(variance) * ((1.0 - EULER_GAMMA) * first + EULER_GAMMA * second))


def deflated_sharpe(
    ratio: float, intervals: int, skewness: float, kurtosis: float, *, trials: float, variance: float
) -> float:
    """Return the probability that the true Sharpe ratio is positive, given that it is the best of ``trials``.

    Parameters
    ----------
    trials : float
        N: trials counted (raw), or their effective number.
    variance : float
        Variance of the Sharpe ratios over the trials, per interval.

    References
    ----------
    Bailey, López de Prado (2014). The deflated Sharpe ratio. J. Portfolio Management 40(5).
    """
    return probabilistic_sharpe(ratio, expected_best_sharpe(trials, variance), intervals, skewness, kurtosis)


def effective_trials(trials: int, mean_correlation: float) -> float:
    """Return the number of independent trials that stands for ``trials`` correlated ones: ``ρ + (1 − ρ) N``.

    References
    ----------
    Bailey, López de Prado (2014), appendix 3.
    """
    rho = min(max(mean_correlation, 0.0), 1.0) if math.isfinite(mean_correlation) else 0.0
    return rho + (1.0 - rho) * max(trials, 1)


def mean_correlation(series: Float64) -> float:
    """Return the mean pairwise correlation of the columns that vary; NaN when there are fewer than two."""
    moving = series[:, np.std(series, axis=0) > 0.0]
    k = moving.shape[1]
    if k < 2:
        return math.nan
    matrix = np.corrcoef(moving, rowvar=False)
    return float((matrix.sum() - k) / (k * (k - 1)))


@dataclass(frozen=True, slots=True)
class Overfitting:
    """The probability of backtest overfitting, or why it was not computed.

    Attributes
    ----------
    probability : float or None
        Share of splits in which the configuration that was best in sample fell into the lower half out of sample.
    note : str
        ``"not computed: …"`` with the reason, else how it was computed.
    """

    probability: float | None
    note: str


def overfitting_probability(performance: Float64, *, blocks: int = PBO_BLOCKS) -> Overfitting:
    """Return the probability of backtest overfitting by combinatorially symmetric cross-validation.

    Parameters
    ----------
    performance : float64 array, shape (T, K)
        Net profit of each configuration on one clock.
    blocks : int
        Even number of consecutive blocks the clock is cut into; each half of them is in sample once.

    Notes
    -----
    A configuration's score on a set of blocks is its Sharpe ratio there. Ties in rank count as their middle.

    References
    ----------
    Bailey, Borwein, López de Prado, Zhu (2017). The probability of backtest overfitting. J. Computational Finance
    20(4).
    """
    n, k = performance.shape
    if k < PBO_MIN_CONFIGURATIONS:
        return Overfitting(None, f"not computed: {k} configurations, at least {PBO_MIN_CONFIGURATIONS} needed")
    if n < 4 * blocks:
        return Overfitting(None, f"not computed: {n} intervals do not fill {blocks} blocks")
    edges = np.linspace(0, n, blocks + 1).astype(int)
    sums = np.add.reduceat(performance, edges[:-1], axis=0)
    squares = np.add.reduceat(performance**2, edges[:-1], axis=0)
    counts = np.diff(edges).astype(np.float64)
    chosen = list(itertools.combinations(range(blocks), blocks // 2))
    inside = np.zeros((len(chosen), blocks))
    inside[np.arange(len(chosen))[:, None], np.array(chosen)] = 1.0
    best = np.argmax(_block_sharpe(inside, sums, squares, counts), axis=1)
    outside = _block_sharpe(1.0 - inside, sums, squares, counts)
    own = outside[np.arange(len(chosen)), best][:, None]
    below = (outside < own).sum(axis=1) + 0.5 * ((outside == own).sum(axis=1) - 1)
    rank = (below + 1.0) / (k + 1.0)
    return Overfitting(float(np.mean(rank <= 0.5)), f"{k} configurations, {blocks} blocks, {len(chosen)} splits")


def _block_sharpe(inside: Float64, sums: Float64, squares: Float64, counts: Float64) -> Float64:
    size = (inside @ counts)[:, None]
    mean = inside @ sums / size
    variance = inside @ squares / size - mean**2
    flat = variance <= 1e-14 * np.maximum(inside @ squares / size, 1e-300)
    ratio: Float64 = np.where(flat, 0.0, mean / np.sqrt(np.where(flat, 1.0, variance)))
    return ratio
