"""On-chain signals: large transfers out of and into exchanges, counted from when both transfer and label were known.

A transfer counts from its confirmation (``ts_known``), a label from ``label_known_since``: whichever came later. Moves inside
or between exchanges are no net flow. That coins leaving exchanges are good news is a hypothesis to test, not part of a signal.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from features.signals.columns import SIGNAL_COLUMNS
from features.signals.emission import emitted_span
from marketdata.clock import NS_PER_DAY, Session
from marketdata.settings import Settings

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

WINDOW_NS: Final = NS_PER_DAY
LATEST_TRANSFERS: Final = 30
LEAST_HISTORY: Final = 30
BASELINE_NS: Final = 30 * NS_PER_DAY
LEAST_DAYS: Final = 5
"""The flow is that of the newest labelled transfers of the last 24 hours, at most 30; its z-score needs 30 labelled
ones in the 30 days before them, below that it says nothing. Activity needs five days that hold transfers."""


class _Labelled(NamedTuple):
    at: Int64
    signed: Float64


class _Seen(NamedTuple):
    at: Int64
    amount: Float64
    dormant: Float64


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
    """Return the on-chain signals of a session, one row whenever something becomes known of a symbol.

    Parameters
    ----------
    history : sequence of pl.DataFrame
        Raw transfers, one frame a session, oldest first, the session's own last: the columns of
        ``marketdata.slow_data.SLOW_SCHEMAS``; an empty label is no exchange. Those of 31 days decide every value.
    settings : Settings
        Names the instruments and the calendar.
    session : Session
        Rows become known from the close of the session before it up to its own close.

    Returns
    -------
    pl.DataFrame
        ``ts_known, symbol`` and, NaN for unknown:

        - ``onchain_flow_ratio``: (out - in) / (out + in) of the newest labelled transfers of 24 hours, 30 at most;
        - ``onchain_flow_z``: their mean signed amount against the labelled transfers of the 30 days before them, in
          units of its standard error, NaN below 30 of those;
        - ``onchain_activity``: log of the coins in all transfers of 24 hours over their mean on those of the last 30
          days that hold any;
        - ``onchain_dormancy``: mean log(1 + days) since the senders last received a transfer, weighted by coins, over
          the transfers of 24 hours of which that is known.
    """
    span = emitted_span(settings, session)
    every = pl.concat(history, how="diagonal_relaxed").filter(pl.col("ts_known") < span[1])
    if "dormant_days" not in every.columns:
        every = every.with_columns(pl.lit(None, pl.Float64).alias("dormant_days"))
    usable = labelled_transfers(every).filter(pl.col("ts_usable") < span[1]).sort("ts_usable", "tx_id")
    every = every.sort("ts_known", "tx_id")
    frames = []
    for item in settings.instruments:
        mine = pl.col("symbol") == item.symbol
        labelled, seen = usable.filter(mine), every.filter(mine)
        frames.append(
            _of_symbol(
                _Labelled(labelled["ts_usable"].to_numpy(), labelled["signed"].to_numpy()),
                _Seen(
                    seen["ts_known"].to_numpy(),
                    seen["amount"].to_numpy(),
                    seen["dormant_days"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
                ),
                item.symbol,
                span,
            )
        )
    return pl.concat(frames).sort("ts_known", "symbol", maintain_order=True)


def _of_symbol(labelled: _Labelled, seen: _Seen, symbol: str, span: tuple[int, int]) -> pl.DataFrame:
    times = np.union1d(labelled.at, seen.at)
    times = times[(times >= span[0]) & (times < span[1])]
    values = np.array([[*_flow(labelled, int(now)), *_mood(seen, int(now))] for now in times]).reshape(len(times), 4)
    names = SIGNAL_COLUMNS["onchain"]
    columns = {"ts_known": times, "symbol": [symbol] * len(times), **{n: values[:, k] for k, n in enumerate(names)}}
    return pl.DataFrame(columns, schema={"ts_known": pl.Int64, "symbol": pl.String, **dict.fromkeys(names, pl.Float64)})


def _window(at: Int64, now: int, length: int) -> tuple[int, int]:
    """Return the first row and the end of the rows in (now - length, now]."""
    first, end = np.searchsorted(at, [now - length, now], side="right")
    return int(first), int(end)


def _flow(labelled: _Labelled, now: int) -> tuple[float, float]:
    first, end = _window(labelled.at, now, WINDOW_NS)
    first = max(first, end - LATEST_TRANSFERS)
    newest = labelled.signed[first:end]
    if not len(newest):
        return np.nan, np.nan
    past = labelled.signed[_window(labelled.at, now, BASELINE_NS)[0] : first]
    z = np.nan
    if len(past) >= LEAST_HISTORY and past.std(ddof=1) > 0:
        z = float((newest.mean() - past.mean()) / (past.std(ddof=1) / np.sqrt(len(newest))))
    return float(newest.sum() / np.abs(newest).sum()), z


def _mood(seen: _Seen, now: int) -> tuple[float, float]:
    first, end = _window(seen.at, now, WINDOW_NS)
    since = _window(seen.at, now, BASELINE_NS)[0]
    amount, dormant = seen.amount[first:end], seen.dormant[first:end]
    activity = dormancy = np.nan
    # Recordings miss whole days: the mean is over the days before now that hold a transfer.
    days = len(np.unique((now - seen.at[since:end]) // NS_PER_DAY))
    if days >= LEAST_DAYS and amount.sum() > 0:
        activity = float(np.log(amount.sum() * days / seen.amount[since:end].sum()))
    known = np.isfinite(dormant)
    if known.any():
        dormancy = float((amount[known] * np.log1p(dormant[known])).sum() / amount[known].sum())
    return activity, dormancy


def onchain_summary(history: Sequence[pl.DataFrame], frame: pl.DataFrame, session: Session) -> str:
    """Return what the report says of a session's on-chain signals: how much is labelled, and whether that suffices."""
    every = pl.concat(history, how="diagonal_relaxed").filter(pl.col("ts_known") < session.close_ns)
    usable = labelled_transfers(every).filter(pl.col("ts_usable") < session.close_ns)
    parts = []
    since = session.close_ns - BASELINE_NS
    for symbol in sorted(set(every["symbol"].to_list())):
        count = usable.filter((pl.col("symbol") == symbol) & (pl.col("ts_usable") >= since)).height
        word = "" if count >= LEAST_HISTORY else f", insufficient for a z-score (needs {LEAST_HISTORY})"
        parts.append(f"{symbol}: {count} labelled transfers in 30 days{word}")
    return "; ".join(parts) or "no transfers, insufficient"
