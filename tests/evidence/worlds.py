"""Evidence made up for tests: candidates with a chosen edge over baselines, on five days of minutes."""

from dataclasses import replace

import numpy as np

from marketdata.clock import NS_PER_S
from marketdata.settings import GateSettings
from models.gate import Evidence, Verdict, assess

GATE = GateSettings()
HORIZON_NS = 10 * NS_PER_S
DAYS = tuple(f"2025-01-{d:02d}" for d in (6, 7, 8, 9, 10))


def make_evidence(
    *,
    edge: float = 0.0,
    skill: float = 0.0,
    candidates: int = 3,
    baselines: int = 2,
    minutes: int = 1950,
    seed: int = 0,
    autocorrelation: float = 0.2,
) -> Evidence:
    """Return evidence where candidates earn ``edge`` a minute (noise 1) and lose ``skill`` less than baselines.

    Candidate ``c0`` has all of it, the later ones ever less; baselines earn −0.2 a minute after costs.
    """
    rng = np.random.default_rng([seed, 77])
    c = tuple(f"c{i}" for i in range(candidates))
    b = tuple(f"b{i}" for i in range(baselines))
    shared, rough = rng.normal(size=minutes), rng.normal(size=minutes)
    for t in range(1, minutes):
        rough[t] += autocorrelation * rough[t - 1]
    pnl, loss = {}, {}
    for k, name in enumerate(c + b):
        share = 1.0 - 0.2 * k if name in c else 0.0
        pnl[name] = 0.5 * shared + rng.normal(size=minutes) + (edge * share if name in c else -0.2)
        loss[name] = 1.05 + 0.05 * rough + 0.05 * rng.normal(size=minutes) - skill * share
    return Evidence(
        candidates=c,
        baselines=b,
        pnl=pnl,
        loss=loss,
        day=np.repeat(np.arange(5, dtype=np.int32), minutes // 5),
        days=DAYS,
        round_trips=dict.fromkeys(c + b, 500),
        pessimistic_pnl=dict.fromkeys(c, 25.0),
        trials=40,
    )


def good() -> Evidence:
    """Return evidence that passes every condition."""
    return make_evidence(edge=0.4, skill=0.02)


def verdict(promote: bool, **changes: object) -> Verdict:
    """Return a verdict of either kind."""
    evidence = good() if promote else make_evidence()
    return assess(replace(evidence, **changes), GATE, HORIZON_NS)  # type: ignore[arg-type]  # names are the test's
