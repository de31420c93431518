"""A training table with the columns that fitted features read, and a market in it that they can learn."""

from dataclasses import replace

import numpy as np

from features.dataset import Dataset
from features.entry import LEVELS
from marketdata.settings import Settings
from tests.models.rows import COLUMNS, small_dataset, small_settings

SPANS = ("1s", "10s", "60s")


def fitted_settings() -> Settings:
    return small_settings()


def fitted_dataset(seed: int = 3) -> Dataset:
    """Return rows whose levels share one flow, whose mid follows the imbalance, and that are busy at both ends."""
    rng = np.random.default_rng(seed)
    table = small_dataset()
    n = len(table)
    names, columns = list(COLUMNS), [table.x]
    flow = rng.normal(size=(n, len(SPANS)))
    for m in range(1, LEVELS + 1):
        for k, span in enumerate(SPANS):
            names.append(f"ofi_l{m}_{span}")
            columns.append((flow[:, k] / m + 0.2 * rng.normal(size=n)).astype(np.float32)[:, None])
    share = np.nan_to_num(table.column("time_of_day"), nan=0.5)
    busy = 30.0 + 60.0 * (2.0 * share - 1.0) ** 2
    names += ["trade_intensity_60s", "spread_ticks"]
    columns.append(np.log1p(rng.poisson(busy)).astype(np.float32)[:, None])
    columns.append(rng.integers(1, 4, (n, 1)).astype(np.float32))
    x = np.concatenate(columns, axis=1)
    imbalance = np.tanh(x[:, names.index("depth_imbalance_l1")])
    x[:, names.index("depth_imbalance_l1")] = imbalance
    bid = np.full(n, 10_000)
    for k in range(len(table.instruments)):
        own = np.flatnonzero(table.instrument_id == k)
        chance = np.nan_to_num(imbalance[own][:-1])
        bid[own[1:]] += np.cumsum(np.where(rng.random(len(own) - 1) < np.abs(chance) / 2, np.sign(chance), 0)).astype(
            int
        )
    return replace(table, columns=tuple(names), x=x, bid_units=bid, ask_units=bid + 2)
