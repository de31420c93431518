"""Studies that a person asks for: sensitivity surfaces of a model, and its cross-validated paths."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from marketdata.paths import DataRoot
from marketdata.settings import Settings, SettingsError
from orchestration.backtesting import model_days
from orchestration.progress import Progress
from orchestration.resources import RootResource
from orchestration.stage import StageContext


def sensitivity_of(
    root: DataRoot,
    settings: Settings,
    day: date | None,
    model: str | None,
    *,
    sizes: Sequence[float],
    latencies: Sequence[float],
    fees: Sequence[float],
    queue_model: str | None,
    progress: Progress,
) -> dict[str, Any]:
    """Trade a model's out-of-sample forecasts at every size, latency and fee tier.

    Returns
    -------
    dict
        Plain data: night, model, sessions, the axes, the fee that 1 stands for, and one entry a point.

    Raises
    ------
    SettingsError
        If there is no such night or model, or an axis means nothing.
    """
    from backtests.sensitivity import run_surfaces
    from models.evidence import plain

    which, chosen, days = model_days(root, settings, day, model)
    try:
        found = run_surfaces(
            settings,
            days,
            sizes=sizes,
            latencies=latencies,
            fees=fees,
            queue_model=queue_model,
            earlier=days.earlier(settings),
            progress=progress,
        )
    except ValueError as error:
        raise SettingsError(str(error)) from error
    sessions = [session.date.isoformat() for session in days]
    return {"night": which.isoformat(), "model": chosen, "sessions": sessions, **plain(found.to_dict())}


def cross_validated(
    root: DataRoot,
    settings: Settings,
    day: date | None,
    model: str | None,
    *,
    groups: int,
    test_groups: int,
    progress: Progress,
) -> dict[str, Any]:
    """Fit a model on every combinatorial purged split of a night's dataset and screen each path.

    Nothing is written below the root: the fits are no folds of a night, and a split is not a trial (R15).

    Returns
    -------
    dict
        Plain data: night, model, splits, share of rows purged, one entry a path, and the spread of each figure over paths.

    Raises
    ------
    SettingsError
        If there is no such night or model, or the groups are not possible.
    """
    import tempfile
    from pathlib import Path

    import numpy as np

    from backtests.replay import sessions_per_year
    from backtests.screen import Screen
    from models.cross_validation import cross_validate
    from models.evaluation import score
    from models.evidence import plain
    from models.statistics import sharpe
    from models.training import probabilities_of
    from orchestration.stages_dataset import load_dataset
    from orchestration.stages_models import load_points, needs_points

    which, chosen, _ = model_days(root, settings, day, model)
    context = StageContext(root, settings, RootResource(path=str(root.path)), which)
    table = load_dataset(context)
    points = load_points(context, table) if needs_points(chosen) else {}
    with tempfile.TemporaryDirectory(prefix="flowsense-paths-") as folder:
        try:
            found = cross_validate(
                DataRoot(Path(folder)),
                settings,
                table,
                chosen,
                points,
                groups=groups,
                test_groups=test_groups,
                progress=progress,
            )
        except ValueError as error:
            raise SettingsError(f"{which}: {error}") from error
    rows = table.take(found.rows)
    screen = Screen.build(rows, settings)
    paths = []
    for forecasts in found.paths:
        result = screen.run(forecasts)
        per_year = sessions_per_year(settings) * len(result.pnl) / max(len(result.clock.days), 1)
        ratio = sharpe(result.pnl, period_ns=result.clock.period_ns, periods_per_year=per_year)
        equity = np.concatenate([[0.0], np.cumsum(result.pnl)])
        scores = score(probabilities_of(forecasts), rows.y)
        paths.append(
            {
                "net_pnl": result.net,
                "sharpe": ratio.ratio,
                "sharpe_error": ratio.error,
                "max_drawdown": float(np.max(np.maximum.accumulate(equity) - equity)),
                "round_trips": result.round_trips,
                "mcc": scores["mcc"],
                "log_loss": scores["log_loss"],
                "day_pnl": result.day_pnl.tolist(),
            }
        )
    names = ("net_pnl", "sharpe", "max_drawdown", "mcc", "log_loss")
    spread = {name: _spread([path[name] for path in paths]) for name in names}
    return dict(
        plain(
            {
                "night": which.isoformat(),
                "model": chosen,
                "rows": len(rows),
                "groups": groups,
                "test_groups": test_groups,
                "splits": found.splits,
                "purged_share": found.purged_share,
                "days": list(screen.clock.days),
                "paths": paths,
                "spread": spread,
            }
        )
    )


def _spread(values: Sequence[float]) -> dict[str, float]:
    import numpy as np

    low, median, high = np.quantile(np.array(values, np.float64), [0.0, 0.5, 1.0])
    return {"low": float(low), "median": float(median), "high": float(high)}
