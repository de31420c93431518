"""A made-up night of realistic size: eight days, five instruments, ten models, everything that a page can hold."""

from dataclasses import replace
from datetime import date
from typing import Literal

import numpy as np

from backtests.report.record import (
    BandRow,
    BenchmarkTest,
    Build,
    CalibrationPoint,
    ControlRow,
    DecisionCard,
    Diagnosis,
    Evidence,
    FeatureSummary,
    Kind,
    LabelShare,
    LeagueRow,
    NightRecord,
    PaperInstrument,
    PaperSession,
    ParityCheck,
    PartitionQuality,
    PnlCurve,
    Requirement,
    RiskEvent,
    SignalFamily,
    StageRows,
    Status,
    Timing,
)
from marketdata.clock import NS_PER_MINUTE, Calendar
from tests.report import sample_evidence

SYMBOLS = ("ALFA", "BRAVO", "CHARLIE", "DELTA", "ECHO")
CANDIDATES = ("linear", "hawkes", "hmm", "transformer", "gnn")
BASELINES = ("majority", "persistence", "last_trade_sign", "queue_imbalance", "time_of_day")
SESSIONS = Calendar("XNYS", "America/New_York").sessions(date(2025, 3, 3), date(2025, 3, 13))
EDGE = {"linear": 2.1, "transformer": 2.4, "gnn": 1.5, "hmm": 0.9, "hawkes": 1.2, "queue_imbalance": -0.9}
FAMILIES = {
    "order flow": ("ofi_best_1s", "ofi_best_10s", "ofi_multi_10s", "trade_imbalance_10s", "signed_volume_10s"),
    "book": ("spread_ticks", "depth_imbalance_l1", "depth_imbalance_l5", "weighted_mid_deviation"),
    "volatility": ("realised_vol_60s", "bipower_60s"),
    "hawkes": ("hawkes_s_buy_0", "hawkes_s_sell_0", "hawkes_s_mid_up_1", "hawkes_s_mid_down_1"),
    "slow signals": ("options_call_put_score", "social_sentiment", "onchain_whale_z"),
}


def promoted_night() -> NightRecord:
    """Return a night that promoted, with one quarantined partition and every section filled."""
    rng = np.random.default_rng(5)
    test = SESSIONS[3:8]
    clock = [ns for s in test for ns in range(s.open_ns + NS_PER_MINUTE, s.close_ns + 1, NS_PER_MINUTE)]
    curves = []
    for name in (*CANDIDATES, *BASELINES):
        kind: Kind = "candidate" if name in CANDIDATES else "baseline"
        drift = EDGE.get(name, -0.25)
        active = rng.random(len(clock)) < 0.4
        net = np.where(active, rng.standard_t(4, len(clock)) * 9 + drift * 2.2, 0.0)
        curves.append(PnlCurve(name=name, kind=kind, net=tuple(float(v) for v in net.round(4))))
    trips = rng.standard_t(4, 1_400) * 6 + 1.1
    return NightRecord(
        day=test[-1].date,
        source="simulated",
        status=Status(
            kind="champion",
            headline="Champion: transformer, promoted tonight",
            reason="Beats cash and every baseline, pays under the pessimistic queue, 1,400 round trips.",
            model="transformer",
            bundle_sha256="7c0fd1a2" * 8,
            since=SESSIONS[8].date,
        ),
        time_zone="America/New_York",
        generated_ns=test[-1].close_ns + 900 * 10**9,
        world="market, signal +1.00",
        horizon_ns=10 * 10**9,
        instruments=SYMBOLS,
        train_days=tuple(s.date for s in SESSIONS[:8]),
        test_days=tuple(s.date for s in test),
        build=Build(
            version="0.1.0",
            commit="0361c5e8a1b2c3d4",
            dirty=True,
            code_sha256="ab" * 32,
            data_sha256="cd" * 32,
            settings_sha256="ef" * 32,
            libraries={"numpy": "2.2.1", "torch": "2.13.0", "polars": "1.20.0"},
        ),
        decision=_decision(SESSIONS[8].date),
        league=_league(rng, curves),
        controls=_controls(),
        diagnoses=tuple(_diagnosis(rng, name) for name in (*CANDIDATES, *BASELINES)),
        evidence=Evidence(
            ts_ns=tuple(clock),
            curves=tuple(curves),
            shown="transformer",
            round_trips=tuple(float(v) for v in trips.round(2)),
            capital=100_000.0,
        ),
        statistics=sample_evidence.statistics(CANDIDATES, BASELINES),
        execution=sample_evidence.execution("transformer"),
        surfaces=sample_evidence.surfaces("transformer"),
        uplift=sample_evidence.uplift("transformer"),
        band=(
            BandRow(
                queue_model="risk averse",
                latency="×4",
                net_pnl=1204.4,
                fees=212.0,
                fills=2_611,
                max_drawdown=402.0,
                role="pessimistic",
            ),
            BandRow(
                queue_model="risk averse", latency="median", net_pnl=1587.1, fees=214.2, fills=2_640, max_drawdown=371.5
            ),
            BandRow(
                queue_model="probabilistic",
                latency="median",
                net_pnl=1642.0,
                fees=214.4,
                fills=2_655,
                max_drawdown=365.0,
                role="optimistic",
            ),
        ),
        paper=_paper(rng, "champion"),
        parity=(
            ParityCheck(
                name="executor's feature rows equal the stored ones", passed=True, compared=13_104, different=0
            ),
            ParityCheck(
                name="fills from journaled forecasts equal the paper fills", passed=True, compared=412, different=0
            ),
            ParityCheck(
                name="recomputed forecasts equal the journaled ones", passed=True, compared=13_104, different=0
            ),
        ),
        partitions=_partitions(),
        features=_features(rng),
        labels=tuple(LabelShare(symbol=s, down=4_100, flat=12_400, up=4_020, missing=280) for s in SYMBOLS),
        signals=(
            SignalFamily(kind="options", present=True, rows=6_400, detail="20 snapshots × 40 contracts a day"),
            SignalFamily(kind="social", present=True, rows=1_600, detail="lexicon (no FinBERT folder given)"),
            SignalFamily(kind="onchain", present=False, detail="the source has none"),
        ),
        stages=(
            StageRows(stage="raw_ticks", rows_in=None, rows_out=5_204_112, detail="5 instruments, 8 days"),
            StageRows(stage="events", rows_in=5_204_112, rows_out=5_204_112),
            StageRows(stage="feature_rows", rows_in=5_204_112, rows_out=104_051, detail="every 50 events"),
            StageRows(stage="labels", rows_in=104_051, rows_out=103_771),
            StageRows(stage="dataset", rows_in=103_771, rows_out=103_771, detail="57 columns"),
        ),
        timings=(
            Timing(part="imports and compile", seconds=31.2, budget_s=60),
            Timing(part="simulate", seconds=29.9, budget_s=40),
            Timing(part="ingest and features", seconds=41.0, budget_s=60),
            Timing(part="quality", seconds=12.1, budget_s=20),
            Timing(part="Dagster", seconds=18.0, budget_s=30),
            Timing(part="MLflow", seconds=16.2, budget_s=15),
            Timing(part="fits", seconds=131.0, budget_s=180),
            Timing(part="backtests", seconds=22.0, budget_s=40),
            Timing(part="report", seconds=2.2, budget_s=20),
        ),
        wall_s=303.6,
        peak_memory_bytes=int(2.31 * 2**30),
    )


def shadow_night() -> NightRecord:
    """Return a night that refused; the best candidate trades in the shadow."""
    night = promoted_night()
    assert night.decision is not None
    return replace(
        night,
        status=Status(
            kind="shadow",
            headline="No champion: linear trades in the shadow only",
            reason="insufficient_evidence: 1 of 5 test days, 88 of 200 round trips",
            model="linear",
        ),
        notes=("Recorded source with one day: the table is a demonstration, the answer is always a refusal.",),
        decision=replace(
            night.decision,
            verdict="refuse",
            reason="insufficient_evidence",
            sentence="Not enough evidence: 1 of 5 test days, 88 of 200 round trips.",
            champion_after=None,
            requirements=(
                Requirement(name="test days", needed="≥ 5", found="1", met=False),
                Requirement(name="round trips", needed="≥ 200", found="88", met=False),
            ),
        ),
        paper=_paper(np.random.default_rng(6), "shadow"),
    )


def empty_night() -> NightRecord:
    """Return a night on which nothing but the refusal happened."""
    status = Status(kind="no_training", headline="Not trained: 2 of 5 instruments", reason="too few instruments")
    return NightRecord(day=date(2025, 3, 7), source="lobster", status=status)


def _decision(effective: date) -> DecisionCard:
    tests = [BenchmarkTest(benchmark="cash", measure="net_pnl", p_value=0.0004, best="transformer")]
    for k, name in enumerate(BASELINES):
        tests.append(BenchmarkTest(benchmark=name, measure="net_pnl", p_value=0.0006 + 0.001 * k, best="transformer"))
        tests.append(BenchmarkTest(benchmark=name, measure="loss", p_value=0.0002, best="linear"))
    return DecisionCard(
        verdict="promote",
        reason="promoted",
        sentence="transformer beats cash and every baseline, and pays under the pessimistic queue.",
        winner="transformer",
        champion_before="linear",
        champion_after="transformer",
        p_threshold=0.01,
        tests=tuple(tests),
        requirements=(
            Requirement(name="test days", needed="≥ 5", found="5", met=True),
            Requirement(name="round trips", needed="≥ 200", found="1,400", met=True),
            Requirement(name="share of days positive", needed="≥ 60 %", found="100 %", met=True),
            Requirement(name="pessimistic net P&L", needed="> 0", found="+1,204", met=True),
            Requirement(name="largest p-value", needed="< 0.01", found="0.005", met=True),
        ),
        sharpe=0.081,
        sharpe_error=0.019,
        sharpe_period="minute",
        psr=0.9998,
        dsr=0.993,
        dsr_effective=0.997,
        trials=5,
        trials_effective=3.2,
        pbo_note="not computed: 5 configurations, 10 needed",
        gate_version="g1-4f2a",
        bundle_sha256="7c0fd1a2" * 8,
        record_hash="9e" * 32,
        previous_hash="31" * 32,
        signed_by="5a" * 32,
        decided_ns=SESSIONS[7].close_ns + 600 * 10**9,
        effective_from=effective,
        missing_instruments={"ECHO": "events/ECHO/2025-03-12 is quarantined: book is never crossed"},
    )


def _league(rng: np.random.Generator, curves: list[PnlCurve]) -> tuple[LeagueRow, ...]:
    rows = []
    for curve in curves:
        net = np.array(curve.net).reshape(5, -1).sum(axis=1)
        good = curve.kind == "candidate"
        rows.append(
            LeagueRow(
                name=curve.name,
                kind=curve.kind,
                mcc=0.0
                if curve.name == "majority"
                else float(rng.uniform(0.12, 0.2) if good else rng.uniform(-0.01, 0.09)),
                balanced_accuracy=float(rng.uniform(0.4, 0.46) if good else rng.uniform(0.33, 0.38)),
                macro_f1=float(rng.uniform(0.36, 0.44) if good else rng.uniform(0.24, 0.32)),
                log_loss=float(rng.uniform(0.86, 0.9) if good else rng.uniform(0.91, 0.97)),
                ece=float(rng.uniform(0.008, 0.03)),
                net_pnl=float(net.sum()),
                net_bps=None if curve.name == "majority" else float(net.sum() / 4_000),
                round_trips=0 if curve.name == "majority" else int(rng.integers(900, 2_400)),
                positive_days=float((net > 0).mean()),
                fold_mcc=tuple(float(v) for v in rng.uniform(0.05, 0.2, 5)),
                fold_net=tuple(float(v) for v in net),
                is_winner=curve.name == "transformer",
                note="d32, 1 layer, window 32" if curve.name == "transformer" else "",
            )
        )
    return tuple(rows)


def _controls() -> tuple[ControlRow, ...]:
    return (
        ControlRow(
            world="n0",
            expects="refuse",
            runs=200,
            promoted=1,
            runs_total=1_600,
            promoted_total=9,
            bound_low=0.0026,
            bound_high=0.0107,
        ),
        ControlRow(
            world="n1",
            expects="refuse",
            runs=2,
            promoted=0,
            runs_total=24,
            promoted_total=0,
            bound_low=0.0,
            bound_high=0.142,
        ),
        ControlRow(
            world="n2",
            expects="refuse",
            runs=2,
            promoted=0,
            runs_total=16,
            promoted_total=0,
            bound_low=0.0,
            bound_high=0.206,
        ),
        ControlRow(
            world="planted",
            expects="promote",
            strength=0.5,
            runs=2,
            promoted=2,
            runs_total=24,
            promoted_total=23,
            bound_low=0.79,
            bound_high=0.999,
        ),
        ControlRow(
            world="planted",
            expects="promote",
            strength=1.0,
            runs=2,
            promoted=2,
            runs_total=24,
            promoted_total=24,
            bound_low=0.858,
            bound_high=1.0,
        ),
    )


def _diagnosis(rng: np.random.Generator, name: str) -> Diagnosis:
    grid = np.linspace(0.05, 0.65, 10)
    counts = (4_000 * np.exp(-4 * grid)).astype(int)
    confusion = rng.integers(600, 2_000, (3, 3)) + np.diag([1_500, 8_000, 1_500])
    if name == "majority":
        confusion = np.array([[0, 20_000, 0], [0, 61_000, 0], [0, 20_100, 0]])
        grid, counts = np.array([0.2]), np.array([101_000])
    up, down = (
        tuple(
            CalibrationPoint(predicted=float(p), observed=float(np.clip(p + rng.normal(0, 0.02), 0, 1)), count=int(n))
            for p, n in zip(grid, counts, strict=True)
        )
        for _ in range(2)
    )
    kind: Kind = "candidate" if name in CANDIDATES else "baseline"
    rows = tuple(tuple(int(v) for v in row) for row in confusion)
    return Diagnosis(name=name, kind=kind, confusion=rows, up=up, down=down, ece=0.014)


def _paper(rng: np.random.Generator, mode: Literal["champion", "shadow"]) -> PaperSession:
    session = SESSIONS[8]
    clock = range(session.open_ns + NS_PER_MINUTE, session.close_ns + 1, NS_PER_MINUTE)
    equity = np.cumsum(np.where(rng.random(len(clock)) < 0.4, rng.standard_t(4, len(clock)) * 8 + 2, 0.0))
    return PaperSession(
        day=session.date,
        mode=mode,
        model="transformer" if mode == "champion" else "linear",
        bundle_sha256="7c0fd1a2" * 8,
        ts_ns=tuple(clock),
        equity=tuple(float(v) for v in equity.round(2)),
        net_pnl=float(equity[-1]),
        fees=38.4,
        forecasts=13_104,
        orders=420,
        fills=412,
        round_trips=206,
        refused_by_risk=3,
        max_drawdown=88.0,
        risk_events=(
            RiskEvent(ts_ns=clock[40], kind="refused: position limit", symbol="ALFA", detail="buy 1, at 10 of 10 lots"),
            RiskEvent(
                ts_ns=clock[233], kind="refused: order rate", symbol="DELTA", detail="21st order within a second"
            ),
        ),
        instruments=tuple(
            PaperInstrument(
                symbol=s, fills=82, bought_lots=41, sold_lots=41, net_pnl=float(rng.normal(60, 80)), fees=7.7
            )
            for s in SYMBOLS
        ),
        forecast_p50_us=182.0,
        forecast_p99_us=411.0,
    )


def _partitions() -> tuple[PartitionQuality, ...]:
    found = []
    for asset in ("raw_ticks", "events", "feature_rows", "labels"):
        for symbol in SYMBOLS:
            for session in SESSIONS[:8]:
                bad = symbol == "ECHO" and session is SESSIONS[7]
                status: Literal["published", "quarantined", "missing"] = "published"
                reasons: tuple[str, ...] = ()
                if bad and asset == "events":
                    status, reasons = "quarantined", ("book is never crossed at the end of a group: 12 groups",)
                elif bad and asset in ("feature_rows", "labels"):
                    status = "missing"
                elif symbol == "BRAVO" and asset == "raw_ticks" and session is SESSIONS[2]:
                    reasons = ("2 rows out of order, sorted",)
                rows = 0 if status == "missing" else 130_112 if asset in ("raw_ticks", "events") else 2_602
                found.append(
                    PartitionQuality(asset=asset, day=session.date, symbol=symbol, status=status, rows=rows,
                                     checks_passed=9, checks_failed=int(bool(reasons)), bad_rows=12 if bad else 0,
                                     reasons=reasons, sha256="0f" * 32)
                )  # fmt: skip
    for asset in ("options_signals", "social_signals"):
        found += [
            PartitionQuality(asset=asset, day=s.date, symbol=None, status="published", rows=800, checks_passed=4)
            for s in SESSIONS[:8]
        ]
    return tuple(found)


def _features(rng: np.random.Generator) -> tuple[FeatureSummary, ...]:
    found = []
    for family, names in FAMILIES.items():
        for name in names:
            scale = 10.0 ** float(rng.integers(-5, 3))
            values = rng.standard_t(5, 4_000) * scale if family != "hawkes" else rng.exponential(scale, 4_000)
            low, high = np.quantile(values, [0.01, 0.99])
            counts, _ = np.histogram(np.clip(values, low, high), bins=32)
            found.append(
                FeatureSummary(
                    name=name,
                    family=family,
                    unit="" if family == "slow signals" else "lots",
                    missing_share=0.34 if name == "onchain_whale_z" else float(rng.uniform(0, 0.02)),
                    mean=float(values.mean()),
                    sd=float(values.std()),
                    p01=float(low),
                    p50=float(np.median(values)),
                    p99=float(high),
                    histogram=tuple(int(c) for c in counts),
                    psi=(psi := float(rng.exponential(0.05))),
                    wasserstein_sd=float(rng.exponential(0.04)),
                    drift="drifted" if psi >= 0.25 else "watch" if psi >= 0.1 else "stable",
                )
            )
    return tuple(found)
