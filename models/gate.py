"""The promotion gate: one test for the whole night, and the evidence it is given (docs/decisions/0004-the-gate.md).

A candidate is promoted when it is better than cash and than *every* baseline in net profit, and better than every
baseline in log loss, each at ``p_value`` over all candidates at once, with enough evidence and a positive pessimistic
backtest. The question asked of the data is the intersection of all those statements, so the chance of promoting
something worthless is at most that of the weakest of them: no correction between the tests is needed.
"""

import ast
import hashlib
import math
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from marketdata.clock import NS_PER_DAY
from marketdata.settings import GateSettings
from models.bootstrap import bootstrap_means, long_run_scale, politis_white, superior_predictive_ability
from models.evidence import CASH, BenchmarkTest, CandidateRow, Measure
from models.evidence import Evidence as Evidence
from models.evidence import Verdict as Verdict
from models.statistics import (
    Sharpe,
    deflated_sharpe,
    effective_trials,
    mean_correlation,
    overfitting_probability,
    probabilistic_sharpe,
    sharpe,
)

Float64 = npt.NDArray[np.float64]

DAILY_FROM_DAYS: Final = 20
MIN_INTERVALS: Final = 30
"""Below this many clock intervals no test is computed."""

INSUFFICIENT_EVIDENCE: Final = "insufficient_evidence"
DOES_NOT_PAY: Final = "does_not_pay"
NOT_BETTER: Final = "not_better_than_baseline"
PROMOTED: Final = "promoted"


@lru_cache(maxsize=1)
def _source_hash() -> str:
    """Hash the gate's code without comments and docstrings: rewording is not another gate."""
    digest = hashlib.sha256()
    here = Path(__file__).resolve().parent
    for name in ("gate.py", "evidence.py", "bootstrap.py", "statistics.py"):
        tree = ast.parse((here / name).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
                node.body = node.body[1:]
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()


def gate_version(gate: GateSettings) -> str:
    """Return the gate's version: a hash of its parameters and of its source. Control results are kept per version."""
    return hashlib.sha256(f"{gate.model_dump_json()}{_source_hash()}".encode()).hexdigest()[:12]


GATE_VERSION: Final = gate_version(GateSettings())
"""Version of the gate with its default parameters."""


def assess(evidence: Evidence, gate: GateSettings, horizon_ns: int, *, screen_only: bool = False) -> Verdict:
    """Judge a night.

    Parameters
    ----------
    evidence : Evidence
        Series of all candidates and baselines on a clock of ``gate.clock_ns``.
    gate : GateSettings
        Thresholds.
    horizon_ns : int
        The forecast horizon; no resampled block is expected to be shorter than two of them.
    screen_only : bool
        Leave out the condition on the pessimistic backtest (control reruns, which only rerun the screen); the measured
        false-promotion rate is then an upper bound of the gate's.

    Returns
    -------
    Verdict
        Deterministic: the bootstrap's seed comes from the gate's version.

    Raises
    ------
    ValueError
        If the evidence does not hang together (:meth:`Evidence.validate`).
    """
    evidence.validate()
    version = gate_version(gate)
    k = len(evidence.candidates)
    n = len(evidence.day)
    tests: tuple[BenchmarkTest, ...] = ()
    blocks: dict[Measure, float] = {}
    resampled: Float64 | None = None
    if n >= MIN_INTERVALS and k:
        tests, blocks, resampled = _run_tests(evidence, gate, horizon_ns, int(version, 16))
    tried = evidence.tried()
    correlation = mean_correlation(tried) if k and n else math.nan
    n_effective = effective_trials(evidence.trials, correlation)
    table = _table(evidence, gate, resampled, tests, n_effective, screen_only)
    reason, detail, winner = _decide(evidence, gate, tests, table)
    paid = [row for row in table if row.is_candidate]
    return Verdict(
        verdict="promote" if winner else "refuse",
        reason=reason,
        detail=detail,
        winner=winner,
        best_candidate=paid[0].name if paid else None,
        gate_version=version,
        screen_only=screen_only,
        test_days=len(evidence.days),
        intervals=n,
        clock_ns=gate.clock_ns,
        block_intervals={measure: float(length) for measure, length in blocks.items()},
        replications=gate.bootstrap_replications,
        required_p_value=gate.p_value,
        trials_raw=evidence.trials,
        trials_effective=n_effective,
        pbo=overfitting_probability(tried),
        tests=tests,
        table=table,
    )


def _run_tests(
    evidence: Evidence, gate: GateSettings, horizon_ns: int, seed: int
) -> tuple[tuple[BenchmarkTest, ...], dict[Measure, float], Float64]:
    """Test all candidates against cash and every baseline.

    Returns
    -------
    tests, blocks, resampled
        The tests; the block length of each measure; the bootstrap means of every name's centred P&L, shape (R, names).
    """
    k = len(evidence.candidates)
    n = len(evidence.day)
    pnl = np.column_stack([evidence.pnl[name] for name in evidence.names])
    loss = np.column_stack([evidence.loss[name] for name in evidence.names])
    known = np.all(np.isfinite(loss), axis=1)
    # Intervals without rows stay on the clock with weight zero, so that a block means the same time in both measures.
    gain_means = -loss[known].mean(axis=0) if known.any() else np.zeros(loss.shape[1])
    gain = np.zeros_like(loss)
    gain[known] = (-loss[known] - gain_means) / max(known.mean(), 1e-300)
    measures: tuple[tuple[Measure, Float64, Float64], ...] = (
        ("pnl", pnl.mean(axis=0), pnl - pnl.mean(axis=0)),
        ("loss", gain_means, gain),
    )

    def lead(columns: Float64, benchmark: int) -> Float64:
        """Return by how much each candidate leads the benchmark, shape (..., K); a benchmark of −1 is cash."""
        return columns[..., :k] - (columns[..., k + benchmark, None] if benchmark >= 0 else 0.0)

    tests: list[BenchmarkTest] = []
    blocks: dict[Measure, float] = {}
    profits = np.zeros((0, 0))
    for measure, means, centred in measures:
        against = range(-1 if measure == "pnl" else 0, len(evidence.baselines))
        if not against:
            continue
        series = np.concatenate([lead(centred, b) for b in against], axis=1)
        dependence = [politis_white(row) for row in np.ascontiguousarray(series.T)]
        block = max(1.0, 2.0 * horizon_ns / gate.clock_ns, *(length for length, _ in dependence))
        bootstrap_scale = long_run_scale(series, block)
        scale = np.maximum(bootstrap_scale, np.sqrt([variance for _, variance in dependence]))
        resampled = bootstrap_means(centred, block, gate.bootstrap_replications, seed)
        for position, b in enumerate(against):
            part = slice(position * k, (position + 1) * k)
            result = superior_predictive_ability(
                lead(means, b), scale[part], lead(resampled, b), n, resampled_scale=bootstrap_scale[part]
            )
            adjusted = {c: float(p) for c, p in zip(evidence.candidates, result.adjusted, strict=True)}
            tests.append(BenchmarkTest(evidence.baselines[b] if b >= 0 else CASH, measure, result.p_value, adjusted))
        blocks[measure] = block
        if measure == "pnl":
            profits = resampled
    return tuple(tests), blocks, profits


def _table(
    evidence: Evidence,
    gate: GateSettings,
    resampled: Float64 | None,
    tests: tuple[BenchmarkTest, ...],
    n_effective: float,
    screen_only: bool,
) -> tuple[CandidateRow, ...]:
    """Return one row a model: candidates by net profit, then baselines by net profit."""
    ratios = {name: _sharpe_of(evidence, gate, name, evidence.pnl[name]) for name in evidence.names}
    searched = [ratios[name] for name in evidence.candidates]
    searched += [_sharpe_of(evidence, gate, name, series) for name, series in evidence.configurations.items()]
    tried = [found.ratio for found in searched if math.isfinite(found.ratio)]
    rows = []
    n = len(evidence.day)
    for index, name in enumerate(evidence.names):
        pnl = evidence.pnl[name]
        total = float(pnl.sum())
        low, high = math.nan, math.nan
        if resampled is not None:
            low, high = (total + n * float(q) for q in np.quantile(resampled[:, index], [0.025, 0.975]))
        by_day = (
            np.bincount(evidence.day, weights=pnl, minlength=len(evidence.days)) if n else np.zeros(len(evidence.days))
        )
        positive = float(np.mean(by_day > 0.0)) if len(by_day) else 0.0
        ratio = ratios[name]
        candidate = name in evidence.candidates
        dsr_raw = dsr_effective = p_value = None
        if candidate:
            variance = float(np.var(tried, ddof=1)) if len(tried) > 1 else 1.0 / max(ratio.intervals - 1, 1)
            moments = (ratio.ratio, ratio.intervals, ratio.skewness, ratio.kurtosis)
            dsr_raw = deflated_sharpe(*moments, trials=max(evidence.trials, 1), variance=variance)
            dsr_effective = deflated_sharpe(*moments, trials=n_effective, variance=variance)
            p_value = max((t.adjusted[name] for t in tests), default=math.nan)
        loss = evidence.loss[name]
        trips = int(evidence.round_trips.get(name, 0))
        pessimistic = evidence.pessimistic_pnl.get(name)
        failed = []
        if candidate:
            if len(evidence.days) < gate.min_test_days:
                failed.append(f"{len(evidence.days)} test days, {gate.min_test_days} needed")
            failed += [
                f"{t.measure} against {t.benchmark}: p {t.adjusted[name]:.3f}"
                for t in tests
                if not _passes(t, name, gate)
            ]
            if trips < gate.min_round_trips:
                failed.append(f"{trips} round trips, {gate.min_round_trips} needed")
            if positive < gate.min_positive_day_share:
                failed.append(f"{positive:.0%} of days positive, {gate.min_positive_day_share:.0%} needed")
            if not screen_only and pessimistic is None:
                failed.append("no pessimistic backtest")
            if not screen_only and pessimistic is not None and not pessimistic > 0.0:
                failed.append(f"pessimistic backtest {pessimistic:.2f}")
        rows.append(
            CandidateRow(
                name=name,
                is_candidate=candidate,
                net_pnl=total,
                net_pnl_low=low,
                net_pnl_high=high,
                day_pnl=tuple(float(v) for v in by_day),
                positive_day_share=positive,
                round_trips=trips,
                pessimistic_pnl=pessimistic,
                log_loss=float(np.nanmean(loss)) if np.any(np.isfinite(loss)) else math.nan,
                sharpe=ratio.ratio,
                sharpe_error=ratio.error,
                sharpe_annual=ratio.annual,
                period_ns=ratio.period_ns,
                intervals=ratio.intervals,
                psr=probabilistic_sharpe(ratio.ratio, 0.0, ratio.intervals, ratio.skewness, ratio.kurtosis),
                dsr_raw=dsr_raw,
                dsr_effective=dsr_effective,
                p_value=p_value,
                failed=tuple(failed),
            )
        )
    return tuple(sorted(rows, key=lambda row: (not row.is_candidate, -row.net_pnl, row.name)))


def _sharpe_of(evidence: Evidence, gate: GateSettings, name: str, pnl: Float64) -> Sharpe:
    series, period_ns, per_year = judged_intervals(evidence, gate, name, pnl)
    return sharpe(series, period_ns=period_ns, periods_per_year=per_year)


def judged_intervals(evidence: Evidence, gate: GateSettings, name: str, pnl: Float64) -> tuple[Float64, int, float]:
    """Return a profit series over the intervals that its Sharpe ratio is of, their length, and how many a year has.

    Intervals do not overlap and are at least as long as the mean holding of ``name``; they are days once there are
    enough of those (R15). None straddles two sessions; a session's last may be shorter.
    """
    days = max(len(evidence.days), 1)
    if days >= DAILY_FROM_DAYS:
        daily: Float64 = np.asarray(np.bincount(evidence.day, weights=pnl, minlength=days), dtype=np.float64)
        return daily, NS_PER_DAY, evidence.sessions_per_year
    holding = evidence.holding_ns.get(name, 0.0)
    step = max(1, math.ceil(holding / gate.clock_ns)) if math.isfinite(holding) else 1
    grouped = np.asarray(pnl, dtype=np.float64)
    if step > 1 and len(pnl):
        within = np.arange(len(pnl)) - np.searchsorted(evidence.day, evidence.day, side="left")
        grouped = np.add.reduceat(grouped, np.flatnonzero(within % step == 0))
    return grouped, step * gate.clock_ns, max(1.0, len(grouped) / days * evidence.sessions_per_year)


def _passes(test: BenchmarkTest, name: str, gate: GateSettings) -> bool:
    return test.adjusted[name] < gate.p_value


def _decide(
    evidence: Evidence, gate: GateSettings, tests: tuple[BenchmarkTest, ...], table: tuple[CandidateRow, ...]
) -> tuple[str, str, str | None]:
    """Return the reason code, the reason in words, and the winner."""
    candidates = [row for row in table if row.is_candidate]
    days = len(evidence.days)
    if days < gate.min_test_days or not tests:
        return INSUFFICIENT_EVIDENCE, f"{days} test days, {gate.min_test_days} needed", None
    winners = [row for row in candidates if not row.failed]
    if winners:
        best = winners[0]
        return PROMOTED, f"{best.name} beats cash and every baseline (largest p {best.p_value:.3f})", best.name
    cash, *others = tests
    paying = [row for row in candidates if _passes(cash, row.name, gate)]
    most = max(row.round_trips for row in candidates)
    if not paying:
        if 0 < most < gate.min_round_trips:
            return INSUFFICIENT_EVIDENCE, f"at most {most} round trips, {gate.min_round_trips} needed", None
        lead = candidates[0]
        return DOES_NOT_PAY, f"no candidate earns more than nothing (best {lead.name}, SPA p {cash.p_value:.3f})", None
    better = [row for row in paying if all(_passes(t, row.name, gate) for t in others)]
    if not better:
        lead = min(paying, key=lambda row: (row.p_value, -row.net_pnl, row.name))
        worst = max(others, key=lambda t: t.adjusted[lead.name])
        what = "net profit" if worst.measure == "pnl" else "log loss"
        detail = f"{lead.name} is not better than {worst.benchmark} in {what} (p {worst.adjusted[lead.name]:.3f})"
        return f"{NOT_BETTER}:{worst.benchmark}", detail, None
    lead = better[0]
    short = lead.round_trips < gate.min_round_trips or lead.positive_day_share < gate.min_positive_day_share
    return INSUFFICIENT_EVIDENCE if short else DOES_NOT_PAY, f"{lead.name}: {'; '.join(lead.failed)}", None
