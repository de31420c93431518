"""The strategies that a backtest or a paper session can be asked for by name, written out; one's own is named by its file.

A *factory* gives the strategy of one session from a root's settings: times depend on the session, sizes on the settings.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from marketdata.clock import NS_PER_S, Session
from marketdata.settings import Settings, SettingsError
from trading.config import last_entry_ns, taker_strategy
from trading.own_files import names_of_file
from trading.strategies import Strategy, touch_maker
from trading.strategies.market_maker import market_maker
from trading.strategies.order_flow import order_flow
from trading.strategy_parameters import (
    Parameter,
    StrategyFactory,
    StrategySpec,
    keyword_defaults,
    parse_assignments,
    told,
    wake_names,
)

__all__ = ["STRATEGIES", "StrategyFactory", "find_strategy", "strategies_table"]

Values = Mapping[str, Any]


def _lots(settings: Settings) -> int:
    return min(settings.strategy.order_lots, settings.strategy.max_position_lots)


def _ns(seconds: float) -> int:
    return round(seconds * NS_PER_S)


def _build_taker(settings: Settings, session: Session, values: Values) -> Strategy:
    return taker_strategy(settings, session, edge_margin=values["margin"])


def _build_touch_maker(settings: Settings, session: Session, values: Values) -> Strategy:
    return touch_maker(
        lots=_lots(settings),
        max_position=settings.strategy.max_position_lots,
        last_entry_ns=last_entry_ns(settings, session),
        join_share=values["join_share"],
        stay_share=values["stay_share"],
        min_spread_ticks=values["min_spread_ticks"],
    )


def _build_market_maker(settings: Settings, session: Session, values: Values) -> Strategy:
    return market_maker(
        lots=_lots(settings),
        max_position=settings.strategy.max_position_lots,
        last_entry_ns=last_entry_ns(settings, session),
        risk_aversion=values["risk_aversion"],
        fill_decay=values["fill_decay"],
        horizon_ns=_ns(values["horizon_s"]),
        volatility=values["volatility"],
        forecast_share=values["forecast_share"],
        forecast_age_ns=_ns(values["forecast_age_s"]),
        requote_ticks=values["requote_ticks"],
    )


def _build_order_flow(settings: Settings, session: Session, values: Values) -> Strategy:
    return order_flow(
        lots=_lots(settings),
        last_entry_ns=last_entry_ns(settings, session),
        window_ns=_ns(values["window_s"]),
        hold_ns=_ns(values["hold_s"]),
        impact_ticks=values["impact_ticks"],
        margin=values["margin"],
        risk_budget=values["risk_budget"],
        rest=values["rest"],
    )


STRATEGIES: Final[Mapping[str, StrategyFactory]] = {
    "taker": StrategySpec(
        "taker",
        "takes the touch when a forecast pays for the round trip, holds for the label's horizon",
        (Parameter("margin", "1", None, 0.0, 100.0, "share of the cost by which the edge exceeds it"),),
        _build_taker,
    ),
    "touch_maker": StrategySpec(
        "touch_maker",
        "rests at the best bid and the best ask",
        (
            Parameter("join_share", "1", 0.0, 0.0, 1.0, "share of the touch's lots from which a side is joined"),
            Parameter("stay_share", "1", 0.0, 0.0, 1.0, "share below which it is left"),
            Parameter("min_spread_ticks", "ticks", 1, 1, 1_000, "narrowest spread that is quoted"),
        ),
        _build_touch_maker,
    ),
    "market_maker": StrategySpec(
        "market_maker",
        "quotes around a reservation price, skewed by inventory and forecast (Avellaneda and Stoikov)",
        (
            Parameter("risk_aversion", "1/(tick lot)", 0.05, 1e-6, 100.0, "how inventory moves and widens the quotes"),
            Parameter("fill_decay", "1/tick", 0.6, 1e-3, 100.0, "how fast fills fall off with distance"),
            Parameter("horizon_s", "s", 60.0, 0.1, 86_400.0, "how long inventory is meant to be held"),
            Parameter("volatility", "tick/sqrt(s)", 0.0, 0.0, 1e4, "of the mid; 0: as estimated while running"),
            Parameter("forecast_share", "1", 0.5, 0.0, 1.0, "share of a forecast's edge by which quotes move"),
            Parameter("forecast_age_s", "s", 10.0, 0.0, 86_400.0, "how old a forecast may be"),
            Parameter("requote_ticks", "ticks", 1, 1, 1_000, "distance from its price at which an order is replaced"),
        ),
        _build_market_maker,
    ),
    "order_flow": StrategySpec(
        "order_flow",
        "trades with a lasting order flow imbalance at the best quotes",
        (
            Parameter("window_s", "s", 10.0, 0.01, 3_600.0, "over which flow is summed"),
            Parameter("hold_s", "s", 10.0, 0.01, 86_400.0, "for which a position is held"),
            Parameter("impact_ticks", "ticks", 0.5, -100.0, 100.0, "move announced by one touch bought away"),
            Parameter("margin", "1", 0.25, 0.0, 100.0, "share of the cost by which the move exceeds it"),
            Parameter("risk_budget", "quote", 0.0, 0.0, 1e12, "one deviation over the holding time; 0: no bound"),
            Parameter("rest", "bool", False, 0, 1, "join the queue at the touch in place of taking"),
        ),
        _build_order_flow,
    ),
}
"""Every strategy by name; ``flowsense new strategy`` adds a line."""


def strategies_table(settings: Settings, session: Session) -> list[dict[str, Any]]:
    """Return every strategy as plain data: name, what it does, what wakes it, parameters with unit, default and bounds."""
    table = []
    for name, factory in STRATEGIES.items():
        made = factory(settings, session)
        if isinstance(factory, StrategySpec):
            said = factory.says
            parameters = [
                {"name": p.name, "unit": p.unit, "default": p.default, "low": p.low, "high": p.high, "says": p.says}
                for p in factory.parameters
            ]
        else:
            said = (factory.__doc__ or "").strip().split("\n", 1)[0]
            parameters = [
                {"name": k, "unit": "", "default": v, "low": None, "high": None, "says": ""}
                for k, v in keyword_defaults(factory).items()
            ]
        wakes = wake_names(made.wake_mask)
        table.append({"name": name, "says": said, "wakes": wakes, "parameters": parameters})
    return table


def find_strategy(text: str, parameters: Sequence[str] = ()) -> StrategyFactory:
    """Return the factory that a text names, with parameters given.

    Parameters
    ----------
    text : str
        A name in :data:`STRATEGIES`, or ``path.py:name``: a file, and the factory or the :class:`Strategy` in it.
    parameters : sequence of str
        ``name=value`` each: parameters of the catalogue, or keyword parameters of one's own factory.

    Raises
    ------
    SettingsError
        If there is none, or a parameter is none of its; the message says what was looked for and what there is.
    """
    return told(text, _named(text), parse_assignments(parameters))


def _named(text: str) -> StrategyFactory:
    if ":" not in text and not text.endswith(".py"):
        if text not in STRATEGIES:
            raise SettingsError(f"unknown strategy {text!r}; there are {', '.join(STRATEGIES)}, or give path.py:name")
        return STRATEGIES[text]
    file, _, name = text.rpartition(":")
    path = Path(file or text)
    if not file or not name.isidentifier():
        raise SettingsError(f"{text}: name the factory as well, {path}:NAME")
    if not path.is_file():
        raise SettingsError(f"{path}: there is no such file")
    found = names_of_file(path).get(name)
    if isinstance(found, Strategy):
        return lambda settings, session: found
    if not callable(found):
        raise SettingsError(f"{path}: {name!r} is neither a Strategy nor a function (settings, session) -> Strategy")

    def made(settings: Settings, session: Session) -> Strategy:
        strategy = found(settings, session)
        if not isinstance(strategy, Strategy):
            raise SettingsError(f"{path}: {name}(settings, session) gave {type(strategy).__name__}, not a Strategy")
        return strategy

    return made
