"""What a strategy can be told: named parameters with unit, default and bounds, given as ``name=value``."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from marketdata.clock import Session
from marketdata.settings import Settings, SettingsError
from trading.strategies.interface import (
    WAKE_EVENT,
    WAKE_FORECAST,
    WAKE_RESPONSE,
    WAKE_TIMER,
    WAKE_TOP,
    WAKE_TRADE,
    Strategy,
)

StrategyFactory = Callable[[Settings, Session], Strategy]
"""What makes the strategy of one session: times depend on the session, sizes on the settings."""

Value = int | float | bool

WAKE_NAMES: Final = {
    WAKE_FORECAST: "forecast",
    WAKE_TOP: "top",
    WAKE_TRADE: "trade",
    WAKE_TIMER: "timer",
    WAKE_RESPONSE: "response",
    WAKE_EVENT: "event",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a strategy.

    Attributes
    ----------
    name : str
    unit : str
        "1" for a pure number.
    default : int, float, bool or None
        Its type is the parameter's. None: as the settings have it, a number.
    low, high : float
        Bounds, both allowed.
    says : str
        What it does, half a sentence.
    """

    name: str
    unit: str
    default: Value | None
    low: float
    high: float
    says: str

    def parse(self, text: str) -> Value:
        """Return the value that a text stands for.

        Raises
        ------
        SettingsError
            If it is no such value, or out of bounds.
        """
        value = parse_value(self.name, text, self.default)
        if not self.low <= value <= self.high:
            raise SettingsError(f"{self.name}={text} is not between {self.low:g} and {self.high:g} ({self.unit})")
        return value


@dataclass(frozen=True, slots=True)
class StrategySpec:
    """A strategy of the catalogue: what it does, what it can be told, and what makes it.

    ``build`` takes settings, session and a value for every parameter. A spec is itself a factory, with the defaults.
    """

    name: str
    says: str
    parameters: tuple[Parameter, ...]
    build: Callable[[Settings, Session, Mapping[str, Any]], Strategy]

    def __call__(self, settings: Settings, session: Session) -> Strategy:
        """Return the strategy with its defaults."""
        return self.build(settings, session, {item.name: item.default for item in self.parameters})

    def told(self, given: Mapping[str, str]) -> StrategyFactory:
        """Return the factory with some parameters given.

        Raises
        ------
        SettingsError
            If there is no such parameter, or a value is none.
        """
        known = {item.name: item for item in self.parameters}
        for name in given:
            _require_known(self.name, name, known)
        values = {name: item.parse(given[name]) if name in given else item.default for name, item in known.items()}
        return lambda settings, session: self.build(settings, session, values)


def parse_assignments(texts: Sequence[str]) -> dict[str, str]:
    """Return the names and values of texts like ``name=value``.

    Raises
    ------
    SettingsError
        If a text is none, or a name comes twice.
    """
    given: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name or not value:
            raise SettingsError(f"{text!r} is not name=value")
        if name in given:
            raise SettingsError(f"{name} is given twice")
        given[name] = value
    return given


def parse_value(name: str, text: str, default: Value | None) -> Value:
    """Return the value of a text, of the type of the default (None: a number).

    Raises
    ------
    SettingsError
        If it is no such value.
    """
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise SettingsError(f"{name}={text}: true or false")
        return text.lower() == "true"
    try:
        value = int(text) if isinstance(default, int) else float(text)
    except ValueError:
        wanted = "a whole number" if isinstance(default, int) else "a number"
        raise SettingsError(f"{name}={text}: {wanted} is wanted") from None
    if not isfinite(value):
        raise SettingsError(f"{name}={text}: a finite number is wanted")
    return value


def told(name: str, factory: StrategyFactory, given: Mapping[str, str]) -> StrategyFactory:
    """Return a factory with parameters given: those of a spec, or keyword parameters of a function.

    Raises
    ------
    SettingsError
        If there is no such parameter, or a value is none.
    """
    if not given:
        return factory
    if isinstance(factory, StrategySpec):
        return factory.told(given)
    known = keyword_defaults(factory)
    for each in given:
        _require_known(name, each, known)
    values = {each: parse_value(each, text, known[each]) for each, text in given.items()}
    free: Callable[..., Strategy] = factory
    return lambda settings, session: free(settings, session, **values)


def keyword_defaults(factory: StrategyFactory) -> dict[str, Value]:
    """Return the keyword-only number parameters of a function with their defaults."""
    return {
        item.name: item.default
        for item in inspect.signature(factory).parameters.values()
        if item.kind is inspect.Parameter.KEYWORD_ONLY and isinstance(item.default, bool | int | float)
    }


def wake_names(mask: int) -> list[str]:
    """Return what wakes a strategy, by name."""
    return [name for bit, name in WAKE_NAMES.items() if mask & bit]


def _require_known(strategy: str, name: str, known: Mapping[str, object]) -> None:
    if name not in known:
        raise SettingsError(f"{strategy} has no parameter {name!r}; it has {', '.join(known) or 'none'}")
