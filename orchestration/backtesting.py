"""``flowsense backtest``: a model's walk-forward forecasts of a night, traded through the engine again."""

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any

from marketdata.paths import DataRoot
from marketdata.settings import Settings, SettingsError
from orchestration.resources import RootResource
from orchestration.side_files import read_json
from orchestration.stage import StageContext

if TYPE_CHECKING:
    from backtests.replay import BacktestResult
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
    queue_model: str | None = None,
    changes: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Trade a model's out-of-sample forecasts of a night's test sessions.

    Parameters
    ----------
    day : date, optional
        Night (default: the latest that has scores).
    model : str, optional
        Default: the night's best candidate by net profit.
    band : bool
        All queue models and latencies instead of one queue model at the stated latency.
    edge_margin : float, optional
        In place of the taker's own.
    strategy : str, optional
        In place of that of the settings: a name in ``trading.strategy_catalog.STRATEGIES``, or ``path.py:name``.
    parameters : tuple of str
        Of that strategy, ``name=value`` each.
    queue_model : str, optional
        In place of that of the settings; a band has all of its own and this one.
    changes : tuple of str
        What was changed in the settings for this backtest, to be told with the result.

    Returns
    -------
    dict
        Plain data: night, model, strategy, sessions, one entry a point of the band, and ``detail`` of one point
        (:class:`backtests.backtest_detail.BacktestDetail`): the queue model of the settings at the stated latency.

    Raises
    ------
    SettingsError
        If there is no such night, model, strategy, or test session, or a margin is given to a strategy that has none.
    """
    from dataclasses import asdict

    from backtests.backtest_detail import BacktestDetail, backtest_detail
    from backtests.band import LATENCIES, QUEUES, run_band
    from models.evidence import plain
    from trading.hooks import find_queue_model
    from trading.strategy_catalog import find_strategy

    queue = queue_model or settings.queue_model
    find_queue_model(queue)  # before anything is read
    if strategy is None and parameters:
        raise SettingsError("parameters belong to a strategy: name it with --strategy")
    factory = find_strategy(strategy, parameters) if strategy is not None else None
    if factory is not None and edge_margin is not None:
        raise SettingsError(f"the margin is the settings' taker's; {strategy} has its own parameters")
    which, chosen, days = model_days(root, settings, day, model)
    every = (*QUEUES, *(() if queue in QUEUES else (queue,)))
    queues, latencies = (every, LATENCIES) if band else ((queue,), (1.0,))
    seen: list[BacktestDetail] = []

    def inspect(name: str, scale: float, results: "list[BacktestResult]") -> None:
        # A band leaves out queue models that cannot matter: the first one at the stated latency stands for those then.
        if scale == 1.0 and (not seen or name == queue):
            seen[:] = [backtest_detail(name, scale, results, days, seed=settings.training.seed)]

    made = run_band(
        settings,
        days,
        queues=queues,
        latencies=latencies,
        edge_margin=edge_margin,
        strategy=factory,
        earlier=days.earlier(settings),
        progress=say,
        inspect=inspect,
    )
    return {
        "night": which.isoformat(),
        "model": chosen,
        "strategy": strategy or ("taker" if edge_margin is not None else settings.strategy.name),
        "parameters": list(parameters),
        "changes": list(changes),
        "sessions": [session.date.isoformat() for session in days],
        "pessimistic": made.pessimistic.net,
        "median": made.median,
        "optimistic": made.optimistic.net,
        "points": [asdict(point) for point in made.points],
        "detail": plain(asdict(seen[0])),
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
    try:
        table = load_dataset(context)
    except ValueError as error:  # its columns are those of other settings, or of another version
        raise SettingsError(f"the night of {which} cannot be used as it lies there: {error}; run it again") from error
    night = load_model_night(root, which, chosen)
    days = TestDays(table, SessionEvents(context, table), night.rows, night.forecasts)
    if not len(days):
        raise SettingsError(f"the night of {which} has no test session")
    return which, chosen, days
