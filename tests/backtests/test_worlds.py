"""Where nothing pays the gate refuses, where an edge was planted that pays it promotes; seeds are hashes of their names."""

from pathlib import Path
from typing import Any

import pytest

import backtests.world_runs
from backtests.controls import ControlResult, accumulate, totals, world_seed
from backtests.world_runs import WorldTask, next_tasks, night_tasks, run_and_keep, run_world
from backtests.worlds import (
    SESSIONS,
    TEST_SESSIONS,
    SmallKind,
    judge_world,
    simulate_world,
    slow_columns_only,
    small_gate,
    world_sessions,
    world_settings,
    worlds_sha256,
)
from features.signals.columns import SIGNAL_COLUMNS
from marketdata.clock import NS_PER_HOUR
from marketdata.paths import DataRoot
from marketdata.settings import GateSettings
from models.gate import gate_version

VERSION = "tests-1"
"""Written down before the first run."""
FORM = "form"


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(("kind", "strength", "verdict"), [("n1", 0.0, "refuse"), ("planted", 1.0, "promote")])
def test_the_gate_refuses_where_nothing_pays_and_promotes_what_was_planted(
    kind: SmallKind, strength: float, verdict: str, index: int
) -> None:
    world = judge_world(kind, strength, world_seed(VERSION, kind, strength, index), candidates=("linear",))
    assert world.verdict.verdict == verdict, world.verdict.detail
    assert world.verdict.test_days == TEST_SESSIONS == 10
    assert not world.verdict.screen_only, "what the screen likes has gone through the engine"
    if verdict == "promote":
        worst = world.verdict.table[0].pessimistic_pnl
        assert worst is not None
        assert worst > 0.0


@pytest.mark.parametrize("index", [0, 1])
def test_slow_signals_that_know_nothing_are_refused_in_a_market_with_a_tick_signal(index: int) -> None:
    world = judge_world("n2", 0.0, world_seed(VERSION, "n2", None, index), candidates=("linear",))
    assert world.verdict.verdict == "refuse", world.verdict.detail
    assert world.settings.simulator.signal == 1.0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[WorldTask]:
    """Worlds that are over at once: planted ones from +0.5 on are promoted."""
    made: list[WorldTask] = []

    def run(task: WorldTask, gate: GateSettings, progress: Any = None) -> ControlResult:
        made.append(task)
        promoted = int((task.strength or 0.0) >= 0.5)
        return ControlResult(
            task.kind, task.strength, str(task.index), gate_version(gate), 1, promoted, {"x": 1}, form=FORM
        )

    monkeypatch.setattr(backtests.world_runs, "run_world", run)
    monkeypatch.setattr(backtests.world_runs, "worlds_sha256", lambda: FORM)
    return made


def test_a_nights_share_is_half_null_and_half_planted_and_takes_turns(tmp_path: Path, quick: list[WorldTask]) -> None:
    root, gate = DataRoot(tmp_path), GateSettings()
    for _ in range(3):
        run_and_keep(root, night_tasks(root, gate, 4), gate, processes=1)
    assert [(t.kind, t.strength, t.index) for t in quick] == [
        *(("n1", None, 0), ("planted", 0.5, 0), ("n2", None, 0), ("planted", 1.0, 0)),
        *(("n1", None, 1), ("planted", 0.25, 0), ("n2", None, 1), ("planted", 0.0, 0)),
        *(("n1", None, 2), ("planted", -0.5, 0), ("n2", None, 2), ("planted", 0.5, 1)),
    ]
    found = {(t.world, t.strength): (t.runs, t.promoted) for t in totals(root, gate_version(gate), FORM)}
    assert found["n1", None] == found["n2", None] == (3, 0)
    assert found["planted", 0.5] == (2, 2)
    assert night_tasks(root, gate, 0) == []


def test_runs_of_another_form_or_gate_are_counted_apart_and_gaps_are_filled(
    tmp_path: Path, quick: list[WorldTask]
) -> None:
    root, gate = DataRoot(tmp_path), GateSettings()
    version = gate_version(gate)
    accumulate(root, [ControlResult("n1", None, "1", version, 1, 0, {}, form=FORM)])
    accumulate(root, [ControlResult("n1", None, "0", version, 1, 1, {}, form="other")])
    assert [t.index for t in next_tasks(root, gate, "n1", None, 3)] == [0, 2, 3]
    assert [t.index for t in next_tasks(root, GateSettings(p_value=0.02), "n1", None, 2)] == [0, 1]
    heard: list[tuple[int, int]] = []
    tasks = next_tasks(root, gate, "n1", None, 2)
    done = run_and_keep(root, tasks, gate, processes=1, progress=lambda k, n: heard.append((k, n)))
    assert [one.key for one in done] == ["0", "2"]
    assert heard == [(0, 2), (1, 2), (2, 2)]
    (total,) = totals(root, version, FORM)
    assert (total.runs, total.promoted, total.expects) == (3, 0, "refuse")


def test_the_small_gate_is_the_nights_but_for_round_trips_and_clock() -> None:
    night = GateSettings(p_value=0.02, clock_ns=NS_PER_HOUR)
    small = small_gate(night)
    changed = {name for name in GateSettings.model_fields if getattr(small, name) != getattr(night, name)}
    assert changed == {"min_round_trips", "clock_ns"}
    assert small_gate(GateSettings(min_round_trips=5)).min_round_trips == 5, "never more than the night asks for"
    assert len(worlds_sha256()) == 64


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("index", range(20))
@pytest.mark.parametrize(("kind", "strength"), [("n1", None), ("n2", None), ("planted", 1.0)])
def test_control_worlds_with_every_family(kind: SmallKind, strength: float | None, index: int) -> None:
    result = run_world(WorldTask(kind, strength, index), GateSettings())
    assert result.runs == 1
    assert result.promoted == (1 if kind == "planted" else 0), result.reasons


def test_a_world_of_slow_signals_alone_shows_its_candidates_nothing_else() -> None:
    settings = world_settings("n2", 1.0, 5)
    small = settings.model_copy(
        update={"simulator": settings.simulator.model_copy(update={"events_per_session": 1_500})}
    )
    data = simulate_world(small, with_signals=True)
    slow = slow_columns_only(data.dataset)
    assert set(slow.columns) == {name for columns in SIGNAL_COLUMNS.values() for name in columns}
    assert slow.fingerprint != data.dataset.fingerprint
    assert len(slow) == len(data.dataset)
    assert len(data.points) == len(data.events) == SESSIONS
    assert all(s.close_ns - s.open_ns == NS_PER_HOUR for s in world_sessions(settings))
