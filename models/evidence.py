"""What the promotion gate is given and what it answers: plain, frozen values."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from models.statistics import Overfitting

Float64 = npt.NDArray[np.float64]
Measure = Literal["pnl", "loss"]

CASH: Final = "cash"
"""Name of the benchmark that does nothing and earns nothing."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a night knows about its models: series on one clock over the concatenated test sessions.

    Every series sums all instruments (the account), so that a resampled block of time is shared by all of them.

    Attributes
    ----------
    candidates, baselines : tuple of str
        Names; a baseline can never be promoted.
    pnl : dict of name to float64 array, shape (T,)
        Net profit in the interval, in quote currency, after all costs; 0 when nothing happens, never NaN.
    loss : dict of name to float64 array, shape (T,)
        Mean log loss of the rows in the interval; NaN where there is no row. An interval counts only where every
        model has one, so all are compared on the same rows.
    day : int array, shape (T,)
        Index into ``days``; not decreasing.
    days : tuple of str
        ISO dates of the test sessions.
    round_trips : dict of name to int
        Finished round trips over all test sessions.
    pessimistic_pnl : dict of name to float
        Net profit in the event-driven backtest at the pessimistic end of its band; a candidate that is absent was not
        backtested and cannot win.
    holding_ns : dict of name to float
        Mean holding time of a position; absent means shorter than the clock's interval.
    trials : int
        N raw of the trial ledger.
    sessions_per_year : float
        Only scales the yearly Sharpe ratio that is shown.
    configurations : dict of name to float64 array, shape (T,)
        Net profit of the candidates under other strategy parameters that the night tried beside their own. None of them
        can be promoted; with the candidates they are what the search went over: the probability of overfitting, the
        variance of Sharpe ratios and the correlation of trials are taken over them all.
    """

    candidates: tuple[str, ...]
    baselines: tuple[str, ...]
    pnl: Mapping[str, Float64]
    loss: Mapping[str, Float64]
    day: npt.NDArray[np.int32]
    days: tuple[str, ...]
    round_trips: Mapping[str, int]
    pessimistic_pnl: Mapping[str, float] = field(default_factory=dict)
    holding_ns: Mapping[str, float] = field(default_factory=dict)
    trials: int = 1
    sessions_per_year: float = 252.0
    configurations: Mapping[str, Float64] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Candidates, then baselines."""
        return self.candidates + self.baselines

    def validate(self) -> None:
        """Refuse evidence that does not hang together.

        Raises
        ------
        ValueError
            Naming the series that is missing, has another length, or holds NaN where none may be.
        """
        n = len(self.day)
        if n and (np.any(np.diff(self.day) < 0) or self.day[0] < 0 or self.day[-1] >= len(self.days)):
            raise ValueError("day indices must ascend and lie within days")
        if len(set(self.names)) != len(self.names) or CASH in self.names:
            raise ValueError(f"model names must differ and none may be {CASH!r}: {self.names}")
        for name in self.names:
            for kind, series in (("pnl", self.pnl), ("loss", self.loss)):
                if name not in series or series[name].shape != (n,):
                    raise ValueError(f"{kind} of {name!r} is missing or not of shape ({n},)")
            if not np.all(np.isfinite(self.pnl[name])):
                raise ValueError(f"pnl of {name!r} holds NaN or infinity")
            if np.any(np.isinf(self.loss[name])):
                raise ValueError(f"loss of {name!r} holds infinity")
        for name, tried in self.configurations.items():
            if name in self.names or tried.shape != (n,) or not np.all(np.isfinite(tried)):
                raise ValueError(f"configuration {name!r} has a model's name, NaN or infinity, or not shape ({n},)")

    def tried(self) -> Float64:
        """Return the net profit of all that was searched over, candidates then configurations, shape (T, K)."""
        series = [self.pnl[name] for name in self.candidates] + list(self.configurations.values())
        return np.column_stack(series) if series else np.zeros((len(self.day), 0))

    def content_hash(self) -> str:
        """Return a SHA-256 of all series and numbers: what a decision record names as its evidence."""
        digest = hashlib.sha256()
        digest.update(repr((self.candidates, self.baselines, self.days, self.trials)).encode())
        for mapping in (self.round_trips, self.pessimistic_pnl, self.holding_ns):
            digest.update(repr([(k, float(mapping[k])) for k in sorted(mapping)]).encode())
        digest.update(np.ascontiguousarray(self.day, dtype=np.int32).tobytes())
        for name in self.names:
            digest.update(np.ascontiguousarray(self.pnl[name], dtype=np.float64).tobytes())
            digest.update(np.ascontiguousarray(self.loss[name], dtype=np.float64).tobytes())
        for name, series in self.configurations.items():
            digest.update(name.encode() + np.ascontiguousarray(series, dtype=np.float64).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class BenchmarkTest:
    """All candidates against one benchmark in one measure.

    ``p_value`` is the SPA p-value over all candidates; ``adjusted`` are the stepwise p-values of each.
    """

    benchmark: str
    measure: Measure
    p_value: float
    adjusted: dict[str, float]


@dataclass(frozen=True, slots=True)
class CandidateRow:
    """One model of the night's table; baselines have no p-value. Money in quote currency, ratios per ``period_ns``.

    ``net_pnl_low`` and ``net_pnl_high`` bound the net profit at 95 % (block bootstrap); ``p_value`` is the
    candidate's largest stepwise p-value over all tests; ``failed`` lists the conditions it does not meet.
    """

    name: str
    is_candidate: bool
    net_pnl: float
    net_pnl_low: float
    net_pnl_high: float
    day_pnl: tuple[float, ...]
    positive_day_share: float
    round_trips: int
    pessimistic_pnl: float | None
    log_loss: float
    sharpe: float
    sharpe_error: float
    sharpe_annual: float
    period_ns: int
    intervals: int
    psr: float
    dsr_raw: float | None
    dsr_effective: float | None
    p_value: float | None
    failed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says, with all it looked at.

    Attributes
    ----------
    verdict : "promote" or "refuse"
    reason : str
        ``promoted``, ``insufficient_evidence``, ``does_not_pay`` or ``not_better_than_baseline:<name>``.
    detail : str
        The reason in a sentence for a person.
    winner : str or None
        The candidate to promote.
    best_candidate : str or None
        The candidate of highest net profit: what trades in the shadow when nothing is promoted.
    block_intervals : dict of measure to float
        Expected length of a resampled block, in intervals of the clock.
    screen_only : bool
        Whether the condition on the pessimistic backtest was left out (controls); such a verdict can never be
        recorded as a decision.
    """

    verdict: Literal["promote", "refuse"]
    reason: str
    detail: str
    winner: str | None
    best_candidate: str | None
    gate_version: str
    screen_only: bool
    test_days: int
    intervals: int
    clock_ns: int
    block_intervals: dict[Measure, float]
    replications: int
    required_p_value: float
    trials_raw: int
    trials_effective: float
    pbo: Overfitting
    tests: tuple[BenchmarkTest, ...]
    table: tuple[CandidateRow, ...]

    @property
    def promoted(self) -> bool:
        """Whether a candidate passed."""
        return self.verdict == "promote"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: 12 significant digits, None for NaN."""
        return {str(k): plain(v) for k, v in asdict(self).items()}


def plain(value: Any) -> Any:
    """Return a value as JSON types: 12 significant digits, None for NaN and infinity, lists for tuples."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float | np.floating):
        return float(f"{float(value):.12g}") if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value
