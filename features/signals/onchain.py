"""On-chain signals: large transfers out of and into exchanges, counted from when both transfer and label were known."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from features.signals.columns import SIGNAL_COLUMNS
from marketdata.clock import NS_PER_DAY, Session
from marketdata.settings import Settings

WINDOW_NS: Final = NS_PER_DAY
LATEST_TRANSFERS: Final = 30
LEAST_HISTORY: Final = 30
"""The flow is that of the newest labelled transfers of the last 24 hours, at most 30; its z-score needs 30 labelled
ones before them, below that it says nothing."""


def labelled_transfers(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the transfers between an exchange and the world, with ``ts_usable`` and ``signed``, out being positive.

    A transfer counts from when it and its label were both known. Moves inside or between exchanges are no net flow.
    """
    sent = pl.col("from_label").fill_null("") != ""
    received = pl.col("to_label").fill_null("") != ""
    usable = pl.max_horizontal("ts_known", "label_known_since").alias("ts_usable")
    signed = pl.when(sent).then(pl.col("amount")).otherwise(-pl.col("amount")).alias("signed")
    return frame.filter((sent != received) & pl.col("label_known_since").is_not_null()).with_columns(usable, signed)


def onchain_signals(history: Sequence[pl.DataFrame], settings: Settings, session: Session) -> pl.DataFrame:
    """Return the on-chain signals of the last session in ``history``, one row whenever a transfer becomes usable.

    Parameters
    ----------
    history : sequence of pl.DataFrame
        Raw transfers, one frame a session, oldest first, the session's own last: ``ts_known, symbol, tx_id, amount,
        from_label, to_label, label_known_since``; an empty label is no exchange.
    settings : Settings
        Names the instruments.
    session : Session
        Unused beyond its place in ``history``: every row carries its own time.

    Returns
    -------
    pl.DataFrame
        ``ts_known, symbol`` and: ``onchain_flow_ratio``, (out - in) / (out + in) of the newest transfers;
        ``onchain_flow_z``, their mean signed amount against the transfers before them in units of its standard error,
        NaN below 30 of those. That outflow is good news is a hypothesis, not part of the signal.
    """
    frames = []
    before = [int(frame.get_column("ts_known").to_numpy().max()) for frame in history[:-1] if frame.height]
    start = max(before, default=0)
    usable = labelled_transfers(pl.concat(history, how="vertical_relaxed")).sort("ts_usable", "tx_id")
    for item in settings.instruments:
        frames.append(_of_symbol(usable.filter(pl.col("symbol") == item.symbol), item.symbol, start))
    return pl.concat(frames).sort("ts_known", "symbol", maintain_order=True)


def _of_symbol(transfers: pl.DataFrame, symbol: str, start: int) -> pl.DataFrame:
    at = transfers.get_column("ts_usable").to_numpy()
    signed = transfers.get_column("signed").to_numpy()
    emitted = np.flatnonzero(at > start)
    ratio = np.empty(len(emitted))
    z = np.full(len(emitted), np.nan)
    for row, k in enumerate(emitted):
        oldest = int(np.searchsorted(at, at[k] - WINDOW_NS, side="right"))
        first = max(oldest, int(k) + 1 - LATEST_TRANSFERS)
        newest, past = signed[first : k + 1], signed[:first]
        ratio[row] = newest.sum() / np.abs(newest).sum()
        if len(past) >= LEAST_HISTORY and past.std(ddof=1) > 0:
            z[row] = (newest.mean() - past.mean()) / (past.std(ddof=1) / np.sqrt(len(newest)))
    names = SIGNAL_COLUMNS["onchain"]
    columns = {"ts_known": at[emitted], "symbol": [symbol] * len(emitted), names[0]: ratio, names[1]: z}
    return pl.DataFrame(columns, schema={"ts_known": pl.Int64, "symbol": pl.String, **dict.fromkeys(names, pl.Float64)})
