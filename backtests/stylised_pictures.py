"""The pictures of the stylised facts: aggregates of the simulated and the recorded markets, one line each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from backtests.stylised_facts import SIMULATED, TAIL_AT, VOLATILITY_LAGS, WAIT_AT, Facts
from marketdata.stylised_facts import DEPTH_LEVELS, SIGN_LAGS, SIGNATURE_S

Panel = tuple[str, Callable[[Facts], tuple[Any, Any]], dict[str, Any]]

FLOW: tuple[Panel, ...] = (
    (
        "Memory of aggressor signs",
        lambda f: (np.arange(1, SIGN_LAGS + 1), np.maximum(f.sign_correlation, 1e-9)),
        {"xscale": "log", "yscale": "log", "xlabel": "lag, aggressors", "ylabel": "correlation", "ylim": (1e-3, 1)},
    ),
    (
        "Times between aggressors",
        lambda f: (WAIT_AT, f.trade_wait_tail),
        {
            "xscale": "log",
            "yscale": "log",
            "xlabel": "× mean",
            "ylabel": "share longer",
            "xlim": (1e-3, 1e2),
            "ylim": (1e-4, 2),
        },
    ),
    (
        "Depth behind the best price",
        lambda f: (np.arange(DEPTH_LEVELS), f.depth),
        {"xlabel": "ticks", "ylabel": "lots, best = 1"},
    ),
    (
        "Cancels",
        lambda f: (np.arange(len(f.cancels)), f.cancels),
        {"xlabel": "ticks behind the best (last: all further)", "ylabel": "share"},
    ),
    (
        "Activity over the day",
        lambda f: (np.arange(13), f.shape),
        {"xlabel": "thirteenths of the trading time", "ylabel": "mean = 1"},
    ),
)
RETURNS: tuple[Panel, ...] = (
    (
        "Tail of one-minute returns",
        lambda f: (TAIL_AT, f.tail),
        {"yscale": "log", "xlabel": "standard deviations", "ylabel": "share beyond", "ylim": (5e-4, 1.2)},
    ),
    (
        "Volatility clusters",
        lambda f: (np.arange(1, VOLATILITY_LAGS + 1), f.volatility_correlation),
        {"xlabel": "lag, minutes", "ylabel": "correlation of |r|"},
    ),
    (
        "Signature plot",
        lambda f: (SIGNATURE_S, f.signature),
        {"xscale": "log", "xlabel": "horizon, s", "ylabel": "variance a second, mean = 1"},
    ),
)
PICTURES = {"simulated_flow.png": FLOW, "simulated_returns.png": RETURNS}
"""File names and panels."""
COLUMNS = 3
COLOURS = ("black", "tab:grey", "tab:blue", "tab:orange", "tab:green", "tab:red")


def draw_facts(facts: dict[str, Facts], folder: Path) -> list[Path]:
    """Draw the facts by market, and return the paths of the PNG files; a market whose feed cannot say is left out of a panel."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    colours = dict(zip(facts, COLOURS, strict=False))
    written = []
    folder.mkdir(parents=True, exist_ok=True)
    for name, panels in PICTURES.items():
        rows = -(-len(panels) // COLUMNS)
        size = (4.2 * COLUMNS, 3.1 * rows)
        figure, axes = plt.subplots(rows, COLUMNS, figsize=size, layout="constrained", squeeze=False)
        for axis, (title, read, look) in zip(axes.ravel(), panels, strict=False):
            for market, own in facts.items():
                x, y = read(own)
                if not np.isnan(np.asarray(y, np.float64)).all():
                    width = 2.2 if market.startswith(SIMULATED) else 1.1
                    axis.plot(x, y, color=colours[market], linewidth=width, label=market)
            axis.set(title=title, **look)
            axis.grid(alpha=0.3)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        if len(panels) < rows * COLUMNS:
            axes.ravel()[-1].axis("off")
            axes.ravel()[-1].legend(handles, labels, loc="center", frameon=False)
        else:
            axes[0, 0].legend(handles, labels, fontsize=8)
        temporary = folder / f".{name}"
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
        plt.close(figure)
        temporary.replace(folder / name)
        written.append(folder / name)
    return written
