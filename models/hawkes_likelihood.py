"""The multivariate sum-of-exponentials Hawkes process: recursive likelihood, gradient, time rescaling, thinning.

The intensity of kind i is ``λ_i(t) = μ_i(τ) + Σ_j Σ_b α_ijb β_b Σ_{t_k < t, kind j} exp(−β_b (t − t_k))``. Decays β are
fixed, so everything but μ and α is computed once a window by an O(N) recursion, and the log likelihood is concave in
(μ, α). Only strictly earlier events excite: events of one time stamp, whatever their kinds, do not excite each other
(R12).

References
----------
Ozaki (1979). Maximum likelihood estimation of Hawkes' self-exciting point processes. Ann. Inst. Statist. Math. 31.
Ogata (1988). Statistical models for earthquake occurrences and residual analysis. JASA 83.
Lewis, Shedler (1979). Simulation of nonhomogeneous Poisson processes by thinning. Naval Research Logistics 26.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.clock import NS_PER_S

KINDS: Final = 4

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Kinds = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PointEvents:
    """Point events of one instrument and session: receive times (int64 ns, ascending) and kinds (uint8, 0 to 3)."""

    ts_ns: Int64
    kind: Kinds

    def __len__(self) -> int:
        return len(self.ts_ns)


@dataclass(frozen=True, slots=True)
class Window:
    """Point events of one session and the span over which they were watched.

    Attributes
    ----------
    open_ns, close_ns : int
        The session; the baseline's knots lie equally spaced over it.
    start_ns, end_ns : int
        The watch, inside the session: events before it are unknown and excite nothing.
    """

    events: PointEvents
    open_ns: int
    close_ns: int
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Features:
    """What the log likelihood of every kind is linear in, at the events of one or several windows.

    Attributes
    ----------
    at : float64 array, shape (N, Q + J·B)
        Hat functions of the Q knots, then β_b S_jb, at each event.
    integral : float64 array, shape (Q + J·B,)
        The same integrated over the watch, seconds.
    kind : uint8 array, shape (N,)
    span_s : float
        Length of the watch, seconds.
    tie_share : float
        Share of events that share their time stamp with one of another kind.
    """

    at: Float64
    integral: Float64
    kind: Kinds
    span_s: float
    tie_share: float


def window_features(windows: list[Window], decays_per_s: Float64, knots: int) -> Features:
    """Return the features of several windows; each starts without a past."""
    parts, kinds, span, ties = [], [], 0.0, 0
    integral = np.zeros(knots + KINDS * len(decays_per_s))
    for window in windows:
        ts, kind = window.events.ts_ns, window.events.kind
        at = np.empty((len(ts), len(integral)))
        hat_functions(ts, window.open_ns, window.close_ns, at[:, :knots])
        excitation(ts, kind, decays_per_s, at[:, knots:])
        parts.append(at)
        kinds.append(kind)
        integral[:knots] += hat_integrals(window, knots)
        integral[knots:] += excitation_integral(ts, kind, decays_per_s, window.end_ns)
        span += (window.end_ns - window.start_ns) / NS_PER_S
        ties += count_ties(ts, kind)
    kind = np.concatenate(kinds) if kinds else np.empty(0, dtype=np.uint8)
    at = np.concatenate(parts) if parts else np.empty((0, len(integral)))
    return Features(at, integral, kind, span, ties / max(len(kind), 1))


@njit(cache=True, nogil=True)
def excitation(ts: Int64, kind: Kinds, decays: Float64, out: Float64) -> None:
    """Write β_b S_jb just before each event to ``out``, shape (N, J·B): one pass, each event decays and joins once."""
    decay_count = decays.shape[0]
    width = KINDS * decay_count
    current = np.zeros(width)
    begin = 0
    last = np.int64(0)
    while begin < ts.shape[0]:
        now = ts[begin]
        end = begin
        while end < ts.shape[0] and ts[end] == now:
            end += 1
        if begin > 0:
            gap = (now - last) / NS_PER_S
            for b in range(decay_count):
                factor = np.exp(-decays[b] * gap)
                for j in range(KINDS):
                    current[j * decay_count + b] *= factor
        for n in range(begin, end):
            for p in range(width):
                out[n, p] = current[p]
        for n in range(begin, end):
            for b in range(decay_count):
                current[kind[n] * decay_count + b] += decays[b]
        last = now
        begin = end


@njit(cache=True, nogil=True)
def excitation_integral(ts: Int64, kind: Kinds, decays: Float64, end_ns: int) -> Float64:
    """Return ∫ β_b S_jb dt up to ``end_ns``, shape (J·B,): each event gives 1 − exp(−β (end − t))."""
    out = np.zeros(KINDS * decays.shape[0])
    for n in range(ts.shape[0]):
        gap = (end_ns - ts[n]) / NS_PER_S
        for b in range(decays.shape[0]):
            out[kind[n] * decays.shape[0] + b] += 1.0 - np.exp(-decays[b] * gap)
    return out


@njit(cache=True, nogil=True)
def hat_functions(ts: Int64, open_ns: int, close_ns: int, out: Float64) -> None:
    """Write the values of the knots' hat functions at each time to ``out``, shape (N, Q); rows sum to 1."""
    knots = out.shape[1]
    for n in range(ts.shape[0]):
        place = min(max((ts[n] - open_ns) / (close_ns - open_ns), 0.0), 1.0) * (knots - 1)
        left = min(int(place), knots - 2)
        for q in range(knots):
            out[n, q] = 0.0
        out[n, left] = 1.0 - (place - left)
        out[n, left + 1] = place - left


def hat_integrals(window: Window, knots: int) -> Float64:
    """Return the integrals of the hat functions over the watch, seconds, shape (Q,)."""
    length = window.close_ns - window.open_ns
    step_s = length / NS_PER_S / (knots - 1)
    out = np.zeros(knots)
    for edge_ns, sign in ((window.end_ns, 1.0), (window.start_ns, -1.0)):
        place = min(max((edge_ns - window.open_ns) / length, 0.0), 1.0) * (knots - 1)
        done = np.clip(place - np.arange(knots - 1), 0.0, 1.0)
        out[:-1] += sign * (done - 0.5 * done**2) * step_s
        out[1:] += sign * 0.5 * done**2 * step_s
    return out


@njit(cache=True, nogil=True)
def count_ties(ts: Int64, kind: Kinds) -> int:
    """Return how many events share their time stamp with an event of another kind."""
    ties = 0
    begin = 0
    while begin < ts.shape[0]:
        end = begin + 1
        mixed = False
        while end < ts.shape[0] and ts[end] == ts[begin]:
            mixed = mixed or kind[end] != kind[begin]
            end += 1
        if mixed:
            ties += end - begin
        begin = end
    return ties


@njit(cache=True, nogil=True)
def loglik_and_gradient(theta: Float64, at: Float64, integral: Float64, gradient: Float64) -> float:
    """Return Σ log(θ·f_n) − θ·∫f of one kind, and write its gradient to ``gradient``.

    Parameters
    ----------
    theta : float64 array, shape (P,)
        Baseline at the knots, then excitation, of one receiving kind.
    at : float64 array, shape (M, P)
        Rows of :class:`Features` at the events of that kind.
    integral : float64 array, shape (P,)
    """
    width = theta.shape[0]
    value = 0.0
    for p in range(width):
        value -= theta[p] * integral[p]
        gradient[p] = -integral[p]
    for n in range(at.shape[0]):
        rate = 0.0
        for p in range(width):
            rate += theta[p] * at[n, p]
        rate = max(rate, 1e-300)
        value += np.log(rate)
        inverse = 1.0 / rate
        for p in range(width):
            gradient[p] += at[n, p] * inverse
    return value


@njit(cache=True, nogil=True)
def rescaled_gaps(
    theta: Float64, ts: Int64, kind: Kinds, decays: Float64, open_ns: int, close_ns: int, target: int
) -> Float64:
    """Return ∫ λ between successive events of kind ``target``: unit exponential if the model is right.

    The baseline of ``theta`` has ``len(theta) − J·B`` knots; its integral between events is by the trapezium rule,
    exact inside a segment of knots.
    """
    decay_count = decays.shape[0]
    knots = theta.shape[0] - KINDS * decay_count
    current = np.zeros(KINDS * decay_count)
    out = np.empty(ts.shape[0])
    count = 0
    total = 0.0
    last = np.int64(open_ns)
    base = theta[0]
    seen = False
    for n in range(ts.shape[0]):
        gap = (ts[n] - last) / NS_PER_S
        place = min(max((ts[n] - open_ns) / (close_ns - open_ns), 0.0), 1.0) * (knots - 1)
        left = min(int(place), knots - 2)
        here = theta[left] * (1.0 - (place - left)) + theta[left + 1] * (place - left)
        total += 0.5 * (base + here) * gap
        for b in range(decay_count):
            factor = np.exp(-decays[b] * gap)
            for j in range(KINDS):
                p = j * decay_count + b
                total += theta[knots + p] * current[p] * (1.0 - factor)
                current[p] *= factor
        if kind[n] == target:
            if seen:
                out[count] = total
                count += 1
            seen = True
            total = 0.0
        for b in range(decay_count):
            current[kind[n] * decay_count + b] += 1.0
        last = ts[n]
        base = here
    return out[:count]


def spectral_radius(excitation_matrix: Float64) -> float:
    """Return the largest modulus of an eigenvalue of Σ_b α_ijb, shape (J, J, B): below 1, the process is stationary."""
    return float(np.abs(np.linalg.eigvals(excitation_matrix.sum(axis=2))).max())


def simulate_by_thinning(
    baseline: Float64, excitation_matrix: Float64, decays_per_s: Float64, span_s: float, generator: np.random.Generator
) -> PointEvents:
    """Return one path of a process with constant baselines, times from 0.

    Parameters
    ----------
    baseline : float64 array, shape (J,)
        Events per second, J at most 4.
    excitation_matrix : float64 array, shape (J, J, B)

    Raises
    ------
    ValueError
        If the spectral radius is 1 or more: the path would explode.
    """
    radius = spectral_radius(excitation_matrix)
    if radius >= 1.0:
        raise ValueError(f"spectral radius {radius:.3f} is not below 1")
    times, kinds = _thin(baseline, excitation_matrix, decays_per_s, span_s, generator)
    return PointEvents((times * NS_PER_S).astype(np.int64), kinds)


@njit(cache=True)
def _thin(
    baseline: Float64, excitation_matrix: Float64, decays: Float64, span_s: float, generator: np.random.Generator
) -> tuple[Float64, Kinds]:
    dims = baseline.shape[0]
    current = np.zeros((dims, decays.shape[0]))
    rates = baseline.copy()
    times = np.empty(1024)
    kinds = np.empty(1024, dtype=np.uint8)
    count = 0
    now = 0.0
    while True:
        bound = rates.sum()
        wait = generator.exponential(1.0 / bound)
        now += wait
        if now >= span_s:
            break
        for b in range(decays.shape[0]):
            factor = np.exp(-decays[b] * wait)
            for j in range(dims):
                current[j, b] *= factor
        for i in range(dims):
            rates[i] = baseline[i]
            for j in range(dims):
                for b in range(decays.shape[0]):
                    rates[i] += excitation_matrix[i, j, b] * decays[b] * current[j, b]
        draw = generator.random() * bound
        chosen = 0
        level = rates[0]
        while chosen < dims - 1 and draw > level:
            chosen += 1
            level += rates[chosen]
        if draw > level:
            continue
        if count == times.shape[0]:
            longer = np.empty(2 * count)
            longer[:count] = times
            times = longer
            more = np.empty(2 * count, dtype=np.uint8)
            more[:count] = kinds
            kinds = more
        times[count] = now
        kinds[count] = chosen
        count += 1
        for b in range(decays.shape[0]):
            current[chosen, b] += 1.0
            for i in range(dims):
                rates[i] += excitation_matrix[i, chosen, b] * decays[b]
    return times[:count], kinds[:count]
