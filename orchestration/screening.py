"""``flowsense screen``: a model's walk-forward forecasts under thousands of parameter sets, each counted as a trial."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

from marketdata.paths import DataRoot
from marketdata.settings import Settings, SettingsError
from orchestration.backtesting import model_days
from orchestration.progress import Progress
from orchestration.resources import RootResource
from orchestration.side_files import write_text
from orchestration.stage import StageContext

DEFAULT_AXES: Final[Mapping[str, tuple[float, ...]]] = {
    "edge_margin": (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0),
    "horizon_s": (2.0, 5.0, 10.0, 20.0, 40.0),
    "extend_share": (0.0, 0.25, 0.5, 1.0),
    "exit_ticks": (0, 20),
    "kelly_fraction": (0.1, 0.25, 0.5),
}
"""960 sets; ``order_lots`` is left as it is, because the engine's limits on size are not the screen's."""
SHOWN: Final = 15


def screen_model(
    root: DataRoot,
    settings: Settings,
    day: date | None,
    model: str | None,
    axes: Mapping[str, Sequence[float]],
    *,
    verify: int,
    threads: int | None,
    progress: Progress,
) -> dict[str, Any]:
    """Sweep parameter sets over a model's test rows, write each down as a trial before, and check some in the engine.

    Returns
    -------
    dict
        Plain data: night, model, counts of trials, every set with its results, the probability of overfitting and deflated
        Sharpe ratio of the choice, the screen's bias, and time taken. ``dsr`` takes V[SR] over the sets, as the paper has it:
        where sets differ in earnest, in skill and not by luck, that bar is too high. ``dsr_sampling`` takes the sampling
        variance of one Sharpe ratio, which is what worthless sets would differ by.

    Raises
    ------
    SettingsError
        If there is no such night or model, or an axis is wrong.
    """
    import time
    from dataclasses import asdict

    from backtests.parameters import TakerParameters, parameter_grid
    from backtests.screen import Screen, align_forecasts
    from backtests.screen_bias import screen_bias, spread_places
    from backtests.sweep import Signals, sweep
    from models.evidence import plain
    from models.statistics import deflated_sharpe, expected_best_sharpe, overfitting_probability, sharpe
    from models.trials import Trial, TrialLedger
    from orchestration.stages_dataset import load_dataset
    from orchestration.stages_models import load_model_night

    which, chosen, days = model_days(root, settings, day, model)
    try:
        sets = parameter_grid(TakerParameters.of(settings), axes)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    context = StageContext(root, settings, RootResource(path=str(root.path)), which)
    night = load_model_night(root, which, chosen)
    base = night.summary["trial"]
    ledger = TrialLedger(root)
    trials = [Trial(**{**base, "strategy": item.trial(settings)}) for item in sets]
    added = ledger.unknown(trials)
    ledger.register_all(trials)
    table = load_dataset(context).take(night.rows)
    prepared = Screen.build(table, settings)
    signals = Signals.of(align_forecasts(table, night.forecasts))
    started = time.perf_counter()
    found = sweep(prepared, signals, sets, threads=threads, progress=progress)
    seconds = time.perf_counter() - started
    count = ledger.count()
    best = int(found.net.argmax())
    moving = found.sharpe[found.pnl.std(axis=0) > 0]
    variance = float(moving.var(ddof=1)) if len(moving) > 1 else 0.0
    ratio = sharpe(found.pnl[:, best], period_ns=found.clock.period_ns, periods_per_year=1.0)
    moments = (ratio.ratio, ratio.intervals, ratio.skewness, ratio.kurtosis)
    bias = screen_bias(
        settings,
        found,
        days,
        spread_places(found.net.tolist(), verify),
        earlier=days.earlier(settings),
        progress=progress,
    )
    columns = {
        "net_pnl": found.net,
        "gross_pnl": found.gross,
        "fees": found.fees,
        "round_trips": found.round_trips,
        "paid": found.paid,
        "entries": found.entries,
        "held_s": found.held_s,
        "turnover": found.turnover,
        "break_even_bps": found.break_even_bps,
        "sharpe": found.sharpe,
    }
    rows = [{**item.to_dict(), **{name: c[k].item() for name, c in columns.items()}} for k, item in enumerate(sets)]
    result: dict[str, Any] = plain(
        {
            "night": which.isoformat(),
            "model": chosen,
            "rows": len(table),
            "sets": len(sets),
            "trials_added": added,
            "trials": count,
            "axes": {name: list(values) for name, values in axes.items()},
            "own": 0,
            "best": best,
            "best_worthless_sharpe": expected_best_sharpe(count, variance),
            "sharpe": ratio.ratio,
            "sharpe_error": ratio.error,
            "sharpe_period_s": found.clock.period_ns / 1e9,
            "dsr": deflated_sharpe(*moments, trials=count, variance=variance),
            "dsr_sampling": deflated_sharpe(*moments, trials=count, variance=ratio.error**2),
            "pbo": asdict(overfitting_probability(found.pnl)),
            "results": rows,
            "bias": {**asdict(bias), "rows": [{**asdict(r), "parameters": r.parameters.to_dict()} for r in bias.rows]},
        }
    )
    return {**result, "seconds": seconds, "row_sets_per_s": len(table) * len(sets) / seconds}


def screen_csv(made: Mapping[str, Any]) -> str:
    """Return every set of a screen as CSV, one line each."""
    rows = made["results"]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def screen_page(made: Mapping[str, Any], path: Path) -> Path:
    """Write a screen as one self-contained page: two maps, the best sets, the bias."""
    from backtests.report.study_pages import screen_study_page

    return write_text(path, screen_study_page(made))
