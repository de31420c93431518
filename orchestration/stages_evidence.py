"""Stages of evidence and decision: control worlds, the band of the engine, the gate's verdict, the champion."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from features.dataset import Dataset
from marketdata.clock import Session
from marketdata.events import EventArray
from marketdata.settings import Settings, SettingsError
from orchestration import companion, stopwatch, warming
from orchestration.build_facts import build_facts
from orchestration.control_worlds import run_share
from orchestration.side_files import MLFLOW, read_json, write_json
from orchestration.stage import StageContext
from orchestration.stages_dataset import DATASET_FILE, load_dataset
from orchestration.stages_models import load_model_night
from orchestration.stages_scores import LEAGUE, build_evidence, load_night_models
from orchestration.stages_trading import session_events

if TYPE_CHECKING:  # the engine's kernels are not part of loading the code location
    from backtests.replay import BacktestResult
    from models.forecast import ForecastArray
    from trading.carried import SessionTrace

CONTROLS: Final = "controls.json"
BAND: Final = "band.json"
EXECUTION: Final = "execution.json"
SURFACES: Final = "surfaces.json"
UPLIFT: Final = "uplift.json"
DECISION: Final = "decision.json"
CHAMPION: Final = "champion.json"
BACKTESTED: Final = 3
"""Candidates at most that go through the engine: those that the screen likes best."""


def controls(context: StageContext) -> Mapping[str, Any]:
    """Shift the night's own forecasts in time and count how often the gate would promote what then says nothing.

    Then run the night's share of small worlds. A night with too few test days is refused by their number alone, so shifting it
    would measure nothing.
    """
    from backtests.controls import ControlResult, accumulate, run_n0
    from models.catalog import BASELINES
    from models.gate import gate_version

    root, gate = context.root, context.settings.gate
    days = len(read_json(root.night(context.day) / LEAGUE)["days"])
    with stopwatch.part(stopwatch.EVIDENCE):
        if days < gate.min_test_days:
            note = f"{days} of {gate.min_test_days} test days: the gate refuses by their number alone"
            result = ControlResult("n0", None, "", gate_version(gate), 0, 0, {}, note)
        else:
            night = load_night_models(context)
            result = run_n0(
                night.dataset,
                {name: load_model_night(root, context.day, name).forecasts for name in night.names},
                BASELINES,
                context.settings,
                seed=shift_seed(context.settings, context.day),
            )
            accumulate(root, [result])
    tonight = {**asdict(result), "expects": result.expects}
    write_json(root.night(context.day) / CONTROLS, {"tonight": tonight})
    worlds = run_share(context)
    return {
        "world": "n0",
        "runs": result.runs,
        "promoted": result.promoted,
        "note": result.note,
        "small_worlds": {f"{one['world']} {one['strength']} {one['index']}": one["reason"] for one in worlds},
    }


def shift_seed(settings: Settings, day: date) -> int:
    """Return the seed of a night's shifts."""
    return settings.training.seed + day.toordinal()


def backtest_band(context: StageContext) -> Mapping[str, Any]:
    """Run the candidates that the screen likes best through the engine over all test sessions.

    Where there are too few test days for a promotion the best candidate alone is run, at the stated latency: nothing depends on
    the rest.
    """
    from backtests.band import run_band

    settings = context.settings
    league = read_json(context.root.night(context.day) / LEAGUE)
    chosen = _chosen(context, league)
    enough = len(league["days"]) >= settings.gate.min_test_days
    bands = {}
    if league["days"]:
        table = load_dataset(context)
        events = SessionEvents(context, table)
        with stopwatch.part(stopwatch.COMPILE):
            companion.wait_for(warming.ENGINE)
        with stopwatch.part(stopwatch.BACKTESTS):
            for name in chosen:
                night = load_model_night(context.root, context.day, name)
                days = TestDays(table, events, night.rows, night.forecasts)
                first = name == chosen[0]
                inspect = _inspector(context, name, days) if first else None
                if enough:
                    band = run_band(settings, days, earlier=days.earlier(settings), inspect=inspect)
                else:
                    band = run_band(
                        settings,
                        days,
                        queues=QUICK,
                        latencies=(1.0,),
                        earlier=days.earlier(settings),
                        inspect=inspect,
                    )
                if first and enough:
                    _surfaces(context, name, days)
                    _uplift(context, name, days)
                bands[name] = {
                    "points": [asdict(point) for point in band.points],
                    "pessimistic": band.pessimistic.net,
                    "optimistic": band.optimistic.net,
                    "median": band.median,
                }
    write_json(context.root.night(context.day) / BAND, {"models": bands, "is_whole": enough})
    return {
        "models": list(bands),
        "is_whole": enough,
        **{f"pessimistic_{name}": band["pessimistic"] for name, band in bands.items()},
    }


QUICK: Final = ("risk_averse",)
NIGHT_SIZES: Final = (1.0, 3.0, 10.0)
NIGHT_LATENCIES: Final = (1.0, 3.0, 10.0)
NIGHT_FEES: Final = (0.5, 1.0, 2.0)
"""Grid of the night's own surfaces, over its last test session; ``flowsense sensitivity`` runs a finer one over them all."""


def _inspector(
    context: StageContext, model: str, days: "TestDays"
) -> "Callable[[str, float, list[BacktestResult]], None]":
    """Return what keeps how the pessimistic queue at the stated latency was filled."""
    from backtests.execution_quality import execution_quality
    from models.evidence import plain

    def inspect(queue: str, scale: float, results: "list[BacktestResult]") -> None:
        if (queue, scale) == (QUICK[0], 1.0):
            found = execution_quality(results, days, seed=context.settings.training.seed)
            write_json(context.root.night(context.day) / EXECUTION, {"model": model, **plain(found.to_dict())})

    return inspect


def _surfaces(context: StageContext, model: str, days: "TestDays") -> None:
    """Write the night's sensitivity surfaces: a coarse grid over the last test session."""
    from backtests.sensitivity import run_surfaces
    from models.evidence import plain

    last = list(days)[-1]
    found = run_surfaces(
        context.settings,
        {last: days[last]},
        sizes=NIGHT_SIZES,
        latencies=NIGHT_LATENCIES,
        fees=NIGHT_FEES,
        earlier=days.earlier(context.settings, last),
    )
    values = {"model": model, "sessions": [last.date.isoformat()], **plain(found.to_dict())}
    write_json(context.root.night(context.day) / SURFACES, values)


UPLIFT_PARENTS: Final = 60
UPLIFT_LOTS: Final = 20
UPLIFT_MINUTES: Final = 10.0
"""Parents of the night's own comparison of executions, over its last test session; ``flowsense ab`` compares over them all."""


def _uplift(context: StageContext, model: str, days: "TestDays") -> None:
    """Write what the forecasts save when a parent is worked: a TWAP that decides by them against a plain one (TV7)."""
    from marketdata.instruments import BookKind
    from models.evidence import plain
    from orchestration.comparing import compare_on

    # Resting needs a book whose queue can be simulated.
    quoted = tuple(item for item in context.settings.instruments if item.book_kind is BookKind.MATCHING)
    if not quoted:
        return
    last = list(days)[-1]
    try:
        found, _ = compare_on(
            context.settings.model_copy(update={"instruments": quoted}),
            {last: days[last]},
            ("twap", "hybrid_twap"),
            parents=UPLIFT_PARENTS,
            lots=UPLIFT_LOTS,
            minutes=UPLIFT_MINUTES,
            queue_model=QUICK[0],
            seed=context.settings.training.seed,
        )
    except SettingsError:  # the session is too short for parents of that length
        return
    write_json(context.root.night(context.day) / UPLIFT, {"model": model, **plain(found)})


def _chosen(context: StageContext, league: Mapping[str, Any]) -> list[str]:
    """Return the candidates to backtest: the best by the screen, and further ones that earn something there."""
    ranked = sorted(context.settings.training.models, key=lambda name: (-league["models"][name]["net_pnl"], name))
    enough = len(league["days"]) >= context.settings.gate.min_test_days
    paying = [name for name in ranked if league["models"][name]["net_pnl"] > 0][: BACKTESTED if enough else 1]
    return paying or ranked[:1]


class SessionEvents:
    """Events of the test sessions, the last few kept, so that no more than a fold's worth is in memory."""

    KEPT: Final = 5

    def __init__(self, context: StageContext, table: Dataset) -> None:
        self._context = context
        self._table = table
        self._kept: dict[int, EventArray] = {}

    def of(self, place: int) -> EventArray:
        """Return all instruments' events of a session, by its position in the dataset."""
        if place not in self._kept:
            while len(self._kept) >= self.KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[place] = session_events(self._context.on(self._table.sessions[place].date))
        return self._kept[place]


class TestDays(Mapping[Session, tuple[EventArray, "ForecastArray"]]):
    """The test sessions of a model as the band wants them: events and forecasts in the order in which they are due."""

    def __init__(self, table: Dataset, events: SessionEvents, rows: Any, forecasts: "ForecastArray") -> None:
        self._events = events
        self._table = table
        session = table.session[rows]
        self._places = {table.sessions[int(place)]: int(place) for place in np.unique(session)}
        self._forecasts = {}
        for place in self._places.values():
            own = forecasts[session == place]
            self._forecasts[place] = own[np.argsort(own["due_ns"], kind="stable")]

    def __getitem__(self, session: Session) -> tuple[EventArray, "ForecastArray"]:
        """Return events and forecasts of a session."""
        place = self._places[session]
        return self._events.of(place), self._forecasts[place]

    def __iter__(self) -> Iterator[Session]:
        """Iterate over the test sessions in order."""
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def earlier(self, settings: Settings, before: Session | None = None) -> "list[SessionTrace]":
        """Return the traces of the dataset's sessions before one (default: the first test session); none if sizes need none."""
        from trading.carried import rows_trace

        if settings.sizing.volatility_target is None:
            return []
        table = self._table
        found = []
        first = min(self._places.values(), default=0) if before is None else self._places[before]
        for place in range(first):
            rows = {}
            for item in table.instruments:
                own = np.flatnonzero((table.session == place) & (table.instrument_id == item.instrument_id))
                rows[item.symbol] = (table.ts_recv[own], table.bid_units[own], table.ask_units[own])
            found.append(rows_trace(table.sessions[place].date, rows))
        return found


def promotion_decision(context: StageContext) -> Mapping[str, Any]:
    """Judge the night, and write the verdict down as a signed record that takes effect at the next session's open."""
    from models.decisions import DecisionLedger, NightInputs
    from models.evidence import plain
    from models.gate import assess
    from models.label_rule import hold_to_executable
    from models.trials import TrialLedger

    root, settings = context.root, context.settings
    night = root.night(context.day)
    league, dataset = read_json(night / LEAGUE), read_json(night / DATASET_FILE)
    band, controls = read_json(night / BAND), read_json(night / CONTROLS)
    with stopwatch.part(stopwatch.EVIDENCE):
        evidence = build_evidence(context, {name: item["pessimistic"] for name, item in band["models"].items()})
        verdict = assess(evidence, settings.gate, settings.label.horizon_ns)
        verdict = hold_to_executable(verdict, settings.label.form)
    facts = build_facts(settings)
    models = league["models"]
    inputs = NightInputs(
        bundles={name: models[name]["bundle_sha256"] for name in settings.training.models},
        evidence_sha256=evidence.content_hash(),
        facts=plain(
            {
                "dataset_sha256": dataset["content_sha256"],
                "code_sha256": facts.code_sha256,
                "settings_sha256": facts.settings_sha256,
                "trials_sha256": TrialLedger(root).digest(),
                "bundle_keys": {name: models[name]["bundle_key"] for name in settings.training.models},
                "missing_instruments": dataset["missing"].get(context.day.isoformat(), {}),
                "signals_missing": dataset["signals_missing"].get(context.day.isoformat(), {}),
                "controls": controls["tonight"],
            }
        ),
    )
    following = next_session(context)
    side = {"commit": facts.commit, "dirty": facts.dirty, "version": facts.version, "mlflow": _tracked(context)}
    record = DecisionLedger(root).record_night(context.day, verdict, inputs, following.open_ns, side=side)
    write_json(
        night / DECISION,
        {
            "verdict": verdict.to_dict(),
            "content_sha256": record.content_sha256,
            "previous": record.content["previous"],
            "shadow": record.content["shadow"],
            "effective_ns": record.effective_ns,
            "effective_from": following.date,
            "missing_instruments": record.content["facts"]["missing_instruments"],
        },
    )
    return {
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "detail": verdict.detail,
        "winner": verdict.winner or "nobody",
        "best_candidate": verdict.best_candidate or "nobody",
        "record": record.sequence,
        "record_hash": record.record_hash,
        "data_version": record.content_sha256,
    }


def _tracked(context: StageContext) -> Mapping[str, Any]:
    path = context.root.night(context.day) / MLFLOW
    return dict(read_json(path)) if path.exists() else {}


def next_session(context: StageContext) -> Session:
    """Return the session after the night's, whether the root spans it or not."""
    calendar = context.settings.market_calendar()
    return next(session for session in calendar.first_sessions(context.day, 2) if session.date > context.day)


def champion(context: StageContext) -> Mapping[str, Any]:
    """Register the bundle that the record names and set the aliases to what the records say."""
    from models.decisions import DecisionLedger
    from models.registry import project_champion, register_bundle

    root = context.root
    decision = read_json(root.night(context.day) / DECISION)
    models, tracked = read_json(root.night(context.day) / LEAGUE)["models"], _tracked(context)
    verdict = decision["verdict"]
    named = verdict["winner"] or (decision["shadow"] or {}).get("model")
    with stopwatch.part(stopwatch.MLFLOW):
        if named is not None:
            folder = root.bundles / models[named]["bundle_key"]
            register_bundle(root, folder, logged_model_id=tracked.get(named, {}).get("logged_model_id"))
        shown = project_champion(root)
    following = next_session(context)
    standing = DecisionLedger(root).champion_at(following.open_ns)
    content = {
        "night": context.day,
        "session": following.date,
        "champion": None
        if standing is None
        else {
            "model": standing.model,
            "bundle_sha256": standing.bundle_sha256,
            "since_ns": standing.since_ns,
            "record": standing.decided_by,
        },
        "shadow": decision["shadow"],
    }
    write_json(root.night(context.day) / CHAMPION, content)
    return {
        "champion": standing.model if standing else "nobody",
        "bundle_sha256": standing.bundle_sha256 if standing else "",
        "alias_version": shown.champion.version if shown.champion else "none",
        "challenger": shown.challenger.model if shown.challenger else "none",
        "aliases_changed": shown.changed,
        "reason": verdict["reason"],
    }
