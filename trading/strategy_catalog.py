"""The strategies that a backtest can be asked for by name, written out; one's own is named by its file.

A *factory* gives the strategy of one session from a root's settings: times depend on the session, sizes on the settings.
"""

import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from marketdata.clock import Session
from marketdata.settings import Settings, SettingsError
from trading.config import last_entry_ns, taker_strategy
from trading.strategies import Strategy, touch_maker

StrategyFactory = Callable[[Settings, Session], Strategy]


def touch_maker_strategy(settings: Settings, session: Session) -> Strategy:
    """Return the touch maker at the sizes of the settings, in the session but its last minutes."""
    chosen = settings.strategy
    return touch_maker(
        lots=min(chosen.order_lots, chosen.max_position_lots),
        max_position=chosen.max_position_lots,
        last_entry_ns=last_entry_ns(settings, session),
    )


STRATEGIES: Final[Mapping[str, StrategyFactory]] = {
    "taker": taker_strategy,
    "touch_maker": touch_maker_strategy,
}
"""Every strategy by name; ``flowsense new strategy`` adds a line."""


def find_strategy(text: str) -> StrategyFactory:
    """Return the factory that a text names.

    Parameters
    ----------
    text : str
        A name in :data:`STRATEGIES`, or ``path.py:name``: a file, and the factory or the :class:`Strategy` in it.

    Raises
    ------
    SettingsError
        If there is none; the message says what was looked for and what there is.
    """
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
    found = _loaded(path).get(name)
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


def _loaded(path: Path) -> dict[str, object]:
    """Run a file as a module of its own name; the error of a file that cannot be run names it."""
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    if spec is None or spec.loader is None:
        raise SettingsError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(path.stem)
    sys.modules[path.stem] = module  # dataclasses and compiled functions look their module up while it runs
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SettingsError(f"{path}: {type(error).__name__}: {error}") from error
    finally:
        if before is not None:
            sys.modules[path.stem] = before
    return vars(module)
