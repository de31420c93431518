"""Where nothing pays the gate refuses, where an edge was planted that pays it promotes; seeds are hashes of their names."""

from pathlib import Path
from typing import Any, Literal

import pytest

import backtests.worlds
from backtests.controls import ControlResult, totals, world_seed
from backtests.worlds import (
    SESSIONS,
    judge_world,
    run_small_worlds,
    run_world,
    simulate_world,
    slow_columns_only,
    world_sessions,
    world_settings,
)
from features.signals.columns import SIGNAL_COLUMNS
from marketdata.clock import NS_PER_HOUR
from marketdata.paths import DataRoot
from marketdata.settings import GateSettings
from models.gate import gate_version

VERSION = "tests-1"
"""Written down before the first run."""


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(("kind", "strength", "verdict"), [("n1", 0.0, "refuse"), ("planted", 1.0, "promote")])
def test_the_gate_refuses_where_nothing_pays_and_promotes_what_was_planted(
    kind: Literal["n1", "planted"], strength: float, verdict: str, index: int
) -> None:
    world = judge_world(kind, strength, world_seed(VERSION, kind, strength, index), candidates=("linear",))
    assert world.verdict.verdict == verdict, world.verdict.detail
    assert world.verdict.test_days == SESSIONS - 3
    assert world.verdict.screen_only


def test_worlds_take_turns_and_count_once_under_their_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def quick(kind: Any, strength: float = 0.0, *, index: int, gate: GateSettings, progress: Any) -> ControlResult:
        made.append((kind, index))
        stated = strength if kind == "planted" else None
        return ControlResult(kind, stated, str(index), gate_version(gate), 1, int(kind == "planted"), {"x": 1})

    monkeypatch.setattr(backtests.worlds, "run_world", quick)
    root, gate = DataRoot(tmp_path), GateSettings()
    run_small_worlds(root, gate, pairs=2)
    run_small_worlds(root, gate)
    assert made == [("n1", 0), ("planted", 0), ("n2", 0), ("planted", 1), ("n1", 1), ("planted", 2)]
    found = {(t.world, t.strength): (t.runs, t.promoted) for t in totals(root, gate_version(gate))}
    assert found == {("n1", None): (2, 0), ("n2", None): (1, 0), ("planted", 1.0): (3, 3)}


@pytest.mark.slow
@pytest.mark.parametrize("index", range(20))
@pytest.mark.parametrize(("kind", "strength"), [("n1", 0.0), ("n2", 0.0), ("planted", 1.0)])
def test_control_worlds_with_every_family(kind: Literal["n1", "n2", "planted"], strength: float, index: int) -> None:
    result = run_world(kind, strength, index=index, gate=GateSettings())
    assert result.runs == 1
    assert result.promoted == (1 if kind == "planted" else 0), result.reasons


def test_a_world_of_slow_signals_alone_shows_its_candidates_nothing_else() -> None:
    settings = world_settings("n2", 1.0, 5)
    small = settings.model_copy(
        update={"simulator": settings.simulator.model_copy(update={"events_per_session": 1_500})}
    )
    dataset, points = simulate_world(small, with_signals=True)
    slow = slow_columns_only(dataset)
    assert set(slow.columns) == {name for columns in SIGNAL_COLUMNS.values() for name in columns}
    assert slow.fingerprint != dataset.fingerprint
    assert len(slow) == len(dataset)
    assert len(points) == SESSIONS
    assert all(s.close_ns - s.open_ns == NS_PER_HOUR for s in world_sessions(settings))
