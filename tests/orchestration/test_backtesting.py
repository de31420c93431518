"""`flowsense backtest` trades a night's forecasts again, through any strategy of the catalogue or of a file."""

from pathlib import Path

import pytest

from marketdata.settings import SettingsError
from orchestration.backtesting import backtest_model
from tests.small_world import SmallWorld

MINE = """
from trading.strategies import touch_maker

def patient(settings, session):
    return touch_maker(lots=1, max_position=1, last_entry_ns=session.close_ns)
"""


def _net(world: SmallWorld, strategy: str | None, **more: object) -> float:
    options = {"band": False, "edge_margin": None, "say": lambda line: None} | more
    made = backtest_model(world.root, world.settings, None, None, strategy=strategy, **options)
    assert made["strategy"] == (strategy or "taker")
    return made["pessimistic"]


def test_the_strategy_decides_what_a_night_would_have_earned(small_world: SmallWorld, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    by_default, by_name = _net(small_world, None), _net(small_world, "taker")
    assert by_default == by_name
    assert len({by_name, _net(small_world, "touch_maker"), _net(small_world, f"{path}:patient")}) == 3


def test_a_margin_belongs_to_the_taker_of_the_settings(small_world: SmallWorld) -> None:
    with pytest.raises(SettingsError, match="has its own parameters"):
        _net(small_world, "touch_maker", edge_margin=0.5)
