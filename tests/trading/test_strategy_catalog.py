"""A strategy is found by its name or by its file, and what is not one is refused by name."""

from pathlib import Path

import pytest

from marketdata.presets import preset
from marketdata.settings import SettingsError
from tests.trading.tape import SESSION
from trading.strategies import Strategy
from trading.strategy_catalog import STRATEGIES, find_strategy

SETTINGS = preset("simulated", None)
MINE = """
from trading.strategies import touch_maker
READY = touch_maker(lots=2, max_position=4, last_entry_ns=9)
NUMBER = 7

def timed(settings, session):
    return touch_maker(lots=1, max_position=1, last_entry_ns=session.close_ns)

def wrong(settings, session):
    return None
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_name_gives_a_strategy_of_that_name(name: str) -> None:
    made = find_strategy(name)(SETTINGS, SESSION)
    assert isinstance(made, Strategy)
    assert made.name == name


def test_a_file_gives_its_strategy_or_makes_one_for_the_session(mine: Path) -> None:
    assert find_strategy(f"{mine}:READY")(SETTINGS, SESSION).ints[2] == 9
    assert find_strategy(f"{mine}:timed")(SETTINGS, SESSION).ints[2] == SESSION.close_ns


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no_such", "unknown strategy 'no_such'; there are taker"),
        ("{mine}", "name the factory as well"),
        ("{mine}x:timed", "no such file"),
        ("{mine}:absent", "'absent' is neither"),
        ("{mine}:NUMBER", "'NUMBER' is neither"),
        ("{mine}:wrong", "gave NoneType, not a Strategy"),
    ],
)
def test_what_is_no_strategy_is_refused_by_name(mine: Path, text: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        find_strategy(text.format(mine=mine))(SETTINGS, SESSION)


def test_a_file_that_cannot_be_run_is_named_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("1 / 0\n")
    with pytest.raises(SettingsError, match=r"mine\.py: ZeroDivisionError"):
        find_strategy(f"{tmp_path / 'mine.py'}:READY")
