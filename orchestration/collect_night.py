"""The record of a night, made from the files of its folder: what the page, the terminal and programs read."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

from backtests.report.record import (
    BandRow,
    BenchmarkTest,
    CalibrationPoint,
    DecisionCard,
    Diagnosis,
    Evidence,
    LeagueRow,
    NightRecord,
    PaperInstrument,
    PaperSession,
    ParityCheck,
    PnlCurve,
    Requirement,
    RiskEvent,
    StageRows,
    Status,
    Timing,
)
from marketdata.clock import from_ns
from marketdata.paths import DataRoot
from marketdata.settings import Settings
from orchestration import collect_data, collect_evidence
from orchestration.build_facts import build_facts
from orchestration.collect_features import feature_pages
from orchestration.control_worlds import control_rows
from orchestration.side_files import NightCosts, read_costs, read_json
from orchestration.stage import StageContext
from orchestration.stages_dataset import DATASET_FILE, load_dataset
from orchestration.stages_evidence import BAND, CHAMPION, CONTROLS, DECISION
from orchestration.stages_models import load_model_night
from orchestration.stages_scores import LEAGUE, Series, load_series
from orchestration.stages_trading import PAPER, PAPER_TIMING, PARITY
from orchestration.stopwatch import BUDGET_S

SHOWN_CURVES: Final = 6
CURRENCY: Final = "USD"


def collect_record(context: StageContext, paper_day: date | None = None, notes: Sequence[str] = ()) -> NightRecord:
    """Return the record of a night.

    Parameters
    ----------
    paper_day : date, optional
        Session whose paper trading is shown; default: the night's own.
    notes : sequence of str
        Further sentences for the top of the page.
    """
    root, settings = context.root, context.settings
    night = root.night(context.day)
    dataset, league = read_json(night / DATASET_FILE), read_json(night / LEAGUE)
    decision = read_json(night / DECISION)
    series = load_series(root, context.day)
    table = load_dataset(context)
    days = [date.fromisoformat(day) for day in dataset["days"]]
    traded = paper_day or context.day
    paper = _paper(root, traded)
    costs = read_costs(root, context.day)
    pages = feature_pages(context)
    verdict = decision["verdict"]
    shown = verdict["winner"] or verdict["best_candidate"]
    return NightRecord(
        day=context.day,
        source=settings.source,
        status=_status(root, context, decision),
        time_zone=settings.time_zone,
        currency=CURRENCY,
        generated_ns=time.time_ns(),
        world=_world(settings),
        horizon_ns=settings.label.horizon_ns,
        instruments=tuple(item.symbol for item in settings.instruments),
        train_days=tuple(days),
        test_days=tuple(date.fromisoformat(day) for day in league["days"]),
        fold_unit=settings.training.fold_unit,
        notes=(*_notes(settings, league, dataset), *notes),
        build=build_facts(settings, data_sha256=dataset["content_sha256"]),
        decision=_card(root, context, decision),
        league=_league(league, verdict["winner"]),
        controls=control_rows(root, context, read_json(night / CONTROLS)["tonight"]),
        diagnoses=_diagnoses(root, context, league),
        evidence=_evidence(series, league, shown, settings),
        band=_band(read_json(night / BAND), shown),
        statistics=collect_evidence.statistics(night, settings),
        execution=collect_evidence.execution(night, read_json(night / BAND)),
        surfaces=collect_evidence.surfaces(night),
        uplift=collect_evidence.uplift(night),
        paper=paper,
        parity=_parity(root, traded),
        partitions=collect_data.partition_qualities(root, settings, [context.day]),
        features=collect_data.feature_summaries(table, settings),
        labels=collect_data.label_shares(table),
        information=pages.information,
        label_forms=pages.label_forms,
        books=pages.pictures,
        signals=collect_data.signal_families(root, settings, context.day),
        ablations=collect_data.signal_ablations(table, settings),
        stages=(*collect_data.stage_rows(root, settings, days), *_night_stages(dataset, league, paper)),
        timings=_timings(costs),
        wall_s=costs.wall_s if costs else None,
        peak_memory_bytes=costs.peak_memory_bytes if costs else None,
    )


def _status(root: DataRoot, context: StageContext, decision: Mapping[str, Any]) -> Status:
    champion, verdict = read_json(root.night(context.day) / CHAMPION), decision["verdict"]
    reason = verdict["reason"] + (f": {verdict['detail']}" if verdict["detail"] else "")
    who = champion["champion"]
    if who is not None:
        tonight = verdict["winner"] is not None and who["since_ns"] == decision["effective_ns"]
        since = from_ns(who["since_ns"]).date()
        headline = f"Champion: {who['model']}, " + ("promoted tonight" if tonight else f"standing since {since}")
        return Status(
            kind="champion",
            headline=headline,
            reason="" if tonight else f"tonight's candidates were refused: {reason}",
            model=who["model"],
            bundle_sha256=who["bundle_sha256"],
            since=since,
        )
    shadow = decision["shadow"]
    if shadow:
        return Status(
            kind="shadow",
            headline=f"No champion: {shadow['model']} trades in the shadow",
            reason=f"refused: {reason}",
            model=shadow["model"],
            bundle_sha256=shadow["bundle_sha256"],
        )
    return Status(kind="refused", headline="No champion, and nobody trades", reason=f"refused: {reason}")


def _world(settings: Settings) -> str:
    if settings.source != "simulated":
        return ""
    return f"world {settings.simulator.world}, signal {settings.simulator.signal:+g}"


def _notes(settings: Settings, league: Mapping[str, Any], dataset: Mapping[str, Any]) -> list[str]:
    notes = []
    days, needed = len(league["days"]), settings.gate.min_test_days
    if days < needed:
        notes.append(
            f"{days} test day{'' if days == 1 else 's'} of {needed} that a promotion needs: the table is a demonstration."
        )
    for day, missing in sorted(dataset["missing"].items()):
        notes += [f"{symbol} is missing on {day}: {reason}" for symbol, reason in sorted(missing.items())]
    for day, missing in sorted(dataset["signals_missing"].items()):
        notes += [f"{kind} signals are missing on {day}: {reason}" for kind, reason in sorted(missing.items())]
    return notes


def _card(root: DataRoot, context: StageContext, decision: Mapping[str, Any]) -> DecisionCard:
    from models.decisions import DecisionLedger

    verdict, settings = decision["verdict"], context.settings
    record = DecisionLedger(root).night(context.day)
    named = verdict["winner"] or verdict["best_candidate"]
    row = next((row for row in verdict["table"] if row["name"] == named), None)
    champion = read_json(root.night(context.day) / CHAMPION)["champion"]
    pbo = verdict["pbo"] or {}
    return DecisionCard(
        verdict=verdict["verdict"],
        reason=verdict["reason"],
        sentence=verdict["detail"],
        winner=verdict["winner"],
        champion_before=decision["previous"]["model"] if decision["previous"] else None,
        champion_after=champion["model"] if champion else None,
        p_threshold=verdict["required_p_value"],
        tests=tuple(
            BenchmarkTest(
                benchmark=test["benchmark"],
                measure="net_pnl" if test["measure"] == "pnl" else "loss",
                p_value=test["p_value"],
                best=min(test["adjusted"], key=lambda name: (test["adjusted"][name], name))
                if test["adjusted"]
                else None,
            )
            for test in verdict["tests"]
        ),
        requirements=_requirements(settings, verdict, row),
        sharpe=row["sharpe"] if row else None,
        sharpe_error=row["sharpe_error"] if row else None,
        sharpe_period=f"{row['period_ns'] / 60e9:g} min" if row else "",
        psr=row["psr"] if row else None,
        dsr=row["dsr_raw"] if row else None,
        dsr_effective=row["dsr_effective"] if row else None,
        trials=verdict["trials_raw"],
        trials_effective=verdict["trials_effective"],
        pbo=pbo.get("probability"),
        pbo_note=pbo.get("note") or "",
        gate_version=verdict["gate_version"],
        bundle_sha256=record.content["bundle_sha256"] if record else None,
        record_hash=record.record_hash if record else "",
        previous_hash=record.previous_hash if record else "",
        signed_by=hashlib.sha256(record.public_key.encode()).hexdigest()[:16] if record else "",
        approved_by=record.content["by"] if record else "gate",
        decided_ns=record.side.get("recorded_ns") if record else None,
        effective_from=date.fromisoformat(decision["effective_from"]),
        missing_instruments=decision["missing_instruments"],
    )


def _requirements(
    settings: Settings, verdict: Mapping[str, Any], row: Mapping[str, Any] | None
) -> tuple[Requirement, ...]:
    gate = settings.gate
    found = [
        Requirement(
            name="test days",
            needed=f"{gate.min_test_days}",
            found=f"{verdict['test_days']}",
            met=verdict["test_days"] >= gate.min_test_days,
        )
    ]
    if row is None:
        return tuple(found)
    pessimistic = row["pessimistic_pnl"]
    found += [
        Requirement(
            name="round trips",
            needed=f"{gate.min_round_trips:,}",
            found=f"{row['round_trips']:,}",
            met=row["round_trips"] >= gate.min_round_trips,
        ),
        Requirement(
            name="share of days positive",
            needed=f"{gate.min_positive_day_share:.0%}",
            found=f"{row['positive_day_share']:.0%}",
            met=row["positive_day_share"] >= gate.min_positive_day_share,
        ),
        Requirement(
            name="pessimistic net P&L of the engine",
            needed="> 0",
            found="not backtested" if pessimistic is None else f"{pessimistic:,.2f}",
            met=pessimistic is not None and pessimistic > 0,
        ),
    ]
    return tuple(found)


def _league(league: Mapping[str, Any], winner: str | None) -> tuple[LeagueRow, ...]:
    ranked = sorted(
        league["models"].items(), key=lambda item: (item[1]["role"] == "baseline", -item[1]["net_pnl"], item[0])
    )
    same = ("mcc", "balanced_accuracy", "macro_f1", "log_loss", "ece", "net_pnl", "net_bps", "round_trips")
    return tuple(
        LeagueRow(
            name=name,
            kind="baseline" if entry["role"] == "baseline" else "candidate",
            **{field: entry[field] for field in same},
            positive_days=entry["positive_days"],
            fold_mcc=tuple(entry["fold_mcc"]),
            fold_net=tuple(entry["fold_net"]),
            is_winner=name == winner,
        )
        for name, entry in ranked
    )


def _diagnoses(root: DataRoot, context: StageContext, league: Mapping[str, Any]) -> tuple[Diagnosis, ...]:
    found = []
    for name, entry in league["models"].items():
        overall = load_model_night(root, context.day, name).summary["overall"]
        if not overall or not overall.get("confusion"):
            continue
        curves = overall.get("calibration") or {}
        found.append(
            Diagnosis(
                name=name,
                kind="baseline" if entry["role"] == "baseline" else "candidate",
                confusion=tuple(tuple(int(cell) for cell in row) for row in overall["confusion"]),
                up=_points(curves.get("up", ())),
                down=_points(curves.get("down", ())),
                ece=overall.get("ece"),
            )
        )
    return tuple(found)


def _points(curve: Sequence[Sequence[float]]) -> tuple[CalibrationPoint, ...]:
    return tuple(CalibrationPoint(predicted=p, observed=o, count=int(n)) for p, o, n in curve)


def _evidence(series: Series, league: Mapping[str, Any], shown: str | None, settings: Settings) -> Evidence:
    if not len(series.ts_ns):
        return Evidence(capital=settings.strategy.capital)
    models = league["models"]
    candidates = [name for name, entry in models.items() if entry["role"] != "baseline"]
    baselines = sorted((n for n in models if n not in candidates), key=lambda name: -models[name]["net_pnl"])
    names = [*candidates, *baselines[: max(SHOWN_CURVES - len(candidates), 1)]]
    return Evidence(
        ts_ns=tuple(int(value) for value in series.ts_ns),
        curves=tuple(
            PnlCurve(
                name=name,
                kind="candidate" if name in candidates else "baseline",
                net=tuple(round(float(value), 6) for value in series.pnl[name]),
            )
            for name in names
        ),
        shown=shown,
        round_trips=tuple(round(float(value), 6) for value in series.trips[shown]) if shown else (),
        capital=settings.strategy.capital,
    )


def _band(band: Mapping[str, Any], shown: str | None) -> tuple[BandRow, ...]:
    found = band["models"].get(shown)
    if not found:
        return ()
    ends: dict[Any, Any] = {}
    if len(found["points"]) > 1:
        ends = {found["optimistic"]: "optimistic", found["pessimistic"]: "pessimistic"}
    return tuple(BandRow.of(point, ends.pop(point["net"], "")) for point in found["points"])


def _paper(root: DataRoot, day: date) -> PaperSession | None:
    path = root.night(day) / PAPER
    if not path.exists():
        return None
    paper = read_json(path)
    if paper["mode"] is None:
        return None
    timing = _optional(root.night(day) / PAPER_TIMING)
    plain = ("net_pnl", "fees", "forecasts", "orders", "fills", "round_trips", "refused_by_risk", "max_drawdown")
    return PaperSession(
        day=day,
        mode=paper["mode"],
        model=paper["model"],
        bundle_sha256=paper["bundle_sha256"],
        ts_ns=tuple(paper["ts_ns"]),
        equity=tuple(paper["equity"]),
        **{name: paper[name] for name in plain},
        risk_state=paper["risk_state"],
        risk_events=tuple(RiskEvent(**event) for event in paper["risk_events"]),
        instruments=tuple(PaperInstrument(**item) for item in paper["instruments"]),
        forecast_p50_us=timing.get("forecast_p50_us"),
        forecast_p99_us=timing.get("forecast_p99_us"),
        note=paper["reason"],
    )


def _optional(path: Path) -> dict[str, Any]:
    return dict(read_json(path)) if path.exists() else {}


def _parity(root: DataRoot, day: date) -> tuple[ParityCheck, ...]:
    return tuple(ParityCheck(**check) for check in _optional(root.night(day) / PARITY).get("checks", ()))


def _night_stages(dataset: Mapping[str, Any], league: Mapping[str, Any], paper: PaperSession | None) -> list[StageRows]:
    stages = [
        StageRows(
            stage="dataset",
            rows_in=dataset["rows"],
            rows_out=dataset["labelled"],
            detail=f"labelled rows of {len(dataset['days'])} sessions, {len(dataset['columns'])} features",
        ),
        StageRows(
            stage="walk-forward scores",
            rows_in=dataset["labelled"],
            rows_out=league["test_rows"],
            detail=f"test rows of {len(league['folds'])} folds",
        ),
    ]
    if paper is not None:
        detail = f"fills from {paper.forecasts:,} forecasts and {paper.orders:,} orders, session {paper.day}"
        stages.append(StageRows(stage="paper session", rows_in=paper.forecasts, rows_out=paper.fills, detail=detail))
    return stages


def _timings(costs: NightCosts | None) -> tuple[Timing, ...]:
    if costs is None:
        return ()
    ranked = sorted(costs.seconds.items(), key=lambda item: -item[1])
    own = [Timing(part=part, seconds=seconds, budget_s=BUDGET_S.get(part)) for part, seconds in ranked]
    beside = sorted(costs.beside.items(), key=lambda item: -item[1])
    return (*own, *(Timing(part=f"{part}, beside", seconds=seconds, budget_s=None) for part, seconds in beside))
