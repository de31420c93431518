"""``flowsense backtest``: a model's walk-forward forecasts of a night, traded through the engine again."""

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

from marketdata.paths import DataRoot
from marketdata.settings import Settings, SettingsError
from orchestration.resources import RootResource
from orchestration.side_files import read_json
from orchestration.stage import StageContext

if TYPE_CHECKING:
    from orchestration.stages_evidence import TestDays


def backtest_model(
    root: DataRoot,
    settings: Settings,
    day: date | None,
    model: str | None,
    *,
    band: bool,
    edge_margin: float | None,
    say: Callable[[str], None],
    strategy: str | None = None,
    parameters: tuple[str, ...] = (),
) -> dict[str, object]:
    """Trade a model's out-of-sample forecasts of a night's test sessions.

    Parameters
    ----------
    day : date, optional
        Night (default: the latest that has scores).
    model : str, optional
        Default: the night's best candidate by net profit.
    band : bool
        All queue models and latencies instead of the pessimistic queue at the stated latency.
    edge_margin : float, optional
        In place of the taker's own.
    strategy : str, optional
        In place of that of the settings: a name in ``trading.strategy_catalog.STRATEGIES``, or ``path.py:name``.
    parameters : tuple of str
        Of that strategy, ``name=value`` each.

    Returns
    -------
    dict
        Plain data: night, model, strategy, sessions, and one entry a point of the band.

    Raises
    ------
    SettingsError
        If there is no such night, model, strategy, or test session, or a margin is given to a strategy that has none.
    """
    from dataclasses import asdict

    from backtests.band import LATENCIES, QUEUES, run_band
    from trading.strategy_catalog import find_strategy

    if strategy is None and parameters:
        raise SettingsError("parameters belong to a strategy: name it with --strategy")
    factory = find_strategy(strategy, parameters) if strategy is not None else None
    if factory is not None and edge_margin is not None:
        raise SettingsError(f"the margin is the settings' taker's; {strategy} has its own parameters")
    which, chosen, days = model_days(root, settings, day, model)
    queues, latencies = (QUEUES, LATENCIES) if band else (QUEUES[:1], (1.0,))
    made = run_band(
        settings,
        days,
        queues=queues,
        latencies=latencies,
        edge_margin=edge_margin,
        strategy=factory,
        progress=say,
    )
    return {
        "night": which.isoformat(),
        "model": chosen,
        "strategy": strategy or ("taker" if edge_margin is not None else settings.strategy.name),
        "parameters": list(parameters),
        "sessions": [session.date.isoformat() for session in days],
        "pessimistic": made.pessimistic.net,
        "median": made.median,
        "optimistic": made.optimistic.net,
        "points": [asdict(point) for point in made.points],
    }


def model_days(root: DataRoot, settings: Settings, day: date | None, model: str | None) -> "tuple[date, str, TestDays]":
    """Return a night, a model of it, and its test sessions with events and out-of-sample forecasts.

    Parameters
    ----------
    day, model
        Default: the latest night with scores, its best candidate by net profit.

    Raises
    ------
    SettingsError
        If there is no such night, model, or test session.
    """
    from orchestration.stages_dataset import load_dataset
    from orchestration.stages_evidence import SessionEvents, TestDays
    from orchestration.stages_models import load_model_night
    from orchestration.stages_scores import LEAGUE

    nights = sorted(p.parent.name for p in (root.path / "nights").glob(f"*/{LEAGUE}"))
    if not nights or (day is not None and day.isoformat() not in nights):
        raise SettingsError(f"{root.path}: no scores{f' of {day}' if day else ''} yet; run `flowsense nightly` first")
    which = day or date.fromisoformat(nights[-1])
    league = read_json(root.night(which) / LEAGUE)["models"]
    candidates = [name for name in settings.training.models if name in league]
    chosen = model or max(candidates, key=lambda name: (league[name]["net_pnl"], name))
    if chosen not in league:
        raise SettingsError(f"unknown model {chosen!r}; the night of {which} has {', '.join(league)}")
    context = StageContext(root, settings, RootResource(path=str(root.path)), which)
    table = load_dataset(context)
    night = load_model_night(root, which, chosen)
    days = TestDays(table, SessionEvents(context, table), night.rows, night.forecasts)
    if not len(days):
        raise SettingsError(f"the night of {which} has no test session")
    return which, chosen, days
