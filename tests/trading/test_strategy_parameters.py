"""Parameters of strategies are named, bounded and refused in one line; the settings choose what is traded."""

import pytest

from marketdata.presets import preset
from marketdata.settings import SettingsError
from tests.trading.tape import SESSION
from trading.config import engine_config
from trading.strategies import WAKE_FORECAST, WAKE_TIMER
from trading.strategies.market_maker import A_AVERSION, Q_HORIZON_NS
from trading.strategy_catalog import STRATEGIES, find_strategy, strategies_table
from trading.strategy_parameters import StrategySpec, told, wake_names

SETTINGS = preset("simulated", None)


def test_the_catalogue_says_what_each_strategy_can_be_told() -> None:
    table = {row["name"]: row for row in strategies_table(SETTINGS, SESSION)}
    assert set(table) == set(STRATEGIES)
    for row in table.values():
        assert row["says"]
        assert row["wakes"]
        for item in row["parameters"]:
            assert item["unit"]
            assert item["says"]
            assert item["default"] is None or item["low"] <= item["default"] <= item["high"]
    assert table["taker"]["wakes"] == wake_names(WAKE_FORECAST | WAKE_TIMER) == ["forecast", "timer"]


def test_given_parameters_reach_the_strategy_and_the_others_keep_their_defaults() -> None:
    made = find_strategy("market_maker", ["risk_aversion=0.2", "horizon_s=30"])(SETTINGS, SESSION)
    plain = find_strategy("market_maker")(SETTINGS, SESSION)
    assert made.floats[A_AVERSION] == 0.2
    assert made.ints[Q_HORIZON_NS] == 30 * 10**9
    assert made.floats[A_AVERSION + 1 :] == plain.floats[A_AVERSION + 1 :]
    assert find_strategy("order_flow", ["rest=true"])(SETTINGS, SESSION).ints[4] == 1
    assert find_strategy("taker", ["margin=0.5"])(SETTINGS, SESSION).floats[0] == 0.5


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("market_maker", ["gamma=1"], "no parameter 'gamma'; it has risk_aversion"),
        ("market_maker", ["risk_aversion=0"], "not between 1e-06 and 100"),
        ("market_maker", ["risk_aversion=much"], "a number is wanted"),
        ("market_maker", ["risk_aversion=nan"], "finite"),
        ("market_maker", ["requote_ticks=1.5"], "whole number"),
        ("order_flow", ["rest=1"], "true or false"),
        ("order_flow", ["rest"], "not name=value"),
        ("order_flow", ["margin=1", "margin=2"], "given twice"),
        ("market_taker", [], "unknown strategy"),
    ],
)
def test_a_wrong_parameter_is_refused_with_what_would_be_right(name: str, parameters: list[str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        find_strategy(name, parameters)


def test_ones_own_factory_takes_its_keyword_parameters() -> None:
    seen: dict[str, float] = {}

    def own(settings, session, *, margin: float = 0.25, lots: int = 3):  # type: ignore[no-untyped-def]  # a user's own
        seen.update(margin=margin, lots=lots)
        return STRATEGIES["taker"](settings, session)

    told("own", own, {"margin": "0.75"})(SETTINGS, SESSION)
    assert seen == {"margin": 0.75, "lots": 3}
    with pytest.raises(SettingsError, match="no parameter 'size'; it has margin, lots"):
        told("own", own, {"size": "1"})


def test_the_settings_choose_the_strategy_and_a_margin_is_the_takers() -> None:
    assert engine_config(SETTINGS, SESSION).strategy.name == "taker"
    chosen = SETTINGS.strategy.model_copy(update={"name": "order_flow", "parameters": ("hold_s=3",)})
    changed = SETTINGS.model_copy(update={"strategy": chosen})
    config = engine_config(changed, SESSION)
    assert config.strategy.name == "order_flow"
    assert config.strategy.ints[3] == 3 * 10**9
    assert config.fingerprint() != engine_config(SETTINGS, SESSION).fingerprint()
    assert engine_config(changed, SESSION, edge_margin=0.5).strategy.name == "taker"
    assert all(isinstance(factory, StrategySpec) for factory in STRATEGIES.values())
