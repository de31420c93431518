"""Option signals: unusual volume against a contract's own history, who is bought, and what the smile says.

What a snapshot says is known at its ``ts_known``; a baseline is made of earlier sessions only. Volumes of one contract
are never summed over snapshots: some exchanges publish a rolling 24-hour figure.
"""

from collections.abc import Sequence
from typing import Final

import polars as pl

from features.signals.columns import SIGNAL_COLUMNS
from marketdata.clock import NS_PER_DAY, Session
from marketdata.settings import Settings

BASELINE_ROWS: Final = 30
BASELINE_LEAST: Final = 10
UNUSUAL_Z: Final = 3.0
UNUSUAL_USD: Final = 100_000.0
SHORT_TENOR_DAYS: Final = 30.0
"""A contract's volume is unusual beyond this z against its last 30 daily rows (10 at least) and above this premium; the
score takes contracts under 30 days to expiry."""

MONEYNESS_EDGES: Final = (-0.30, -0.15, -0.05, 0.05, 0.15, 0.30)
TENOR_EDGES: Final = (7.0, 30.0, 90.0)
"""Buckets, in log(strike / underlying) and days to expiry, that stand in for a contract with too short a history."""

ROBUST_SIGMA: Final = 1.4826
"""Standard deviation over median absolute deviation of a Gaussian."""

_BUCKET: Final = ("symbol", "is_call", "moneyness", "tenor")


def _with_buckets(frame: pl.DataFrame) -> pl.DataFrame:
    days = (pl.col("expiry_ns") - pl.col("ts_snapshot")) / NS_PER_DAY
    money = (pl.col("strike") / pl.col("underlying")).log()
    return frame.with_columns(
        days.alias("days"),
        pl.sum_horizontal([(money > edge).cast(pl.Int8) for edge in MONEYNESS_EDGES]).alias("moneyness"),
        pl.sum_horizontal([(days > edge).cast(pl.Int8) for edge in TENOR_EDGES]).alias("tenor"),
    )


def daily_rows(history: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the last snapshot of each contract in each session, oldest session first."""
    parts = [frame.sort("ts_known").group_by("contract", maintain_order=True).last() for frame in history]
    return pl.concat(parts, how="diagonal")


def contract_z(rows: pl.DataFrame, daily: pl.DataFrame) -> pl.DataFrame:
    """Return ``rows`` with ``z``: volume against the contract's previous daily rows, zeros kept, ddof 1.

    Null where the contract has fewer than 10 rows or they are all equal.

    Parameters
    ----------
    rows : pl.DataFrame
        Snapshots of one session.
    daily : pl.DataFrame
        Rows of :func:`daily_rows` of the sessions before it, the session itself excluded.
    """
    baseline = (
        daily.group_by("contract", maintain_order=True)
        .tail(BASELINE_ROWS)
        .group_by("contract")
        .agg(pl.col("volume").mean().alias("mean"), pl.col("volume").std(ddof=1).alias("sd"), pl.len().alias("rows"))
        .filter((pl.col("rows") >= BASELINE_LEAST) & (pl.col("sd") > 0))
    )
    z = ((pl.col("volume") - pl.col("mean")) / pl.col("sd")).alias("z")
    return (
        rows.join(baseline, on="contract", how="left", maintain_order="left").with_columns(z).drop("mean", "sd", "rows")
    )


def unusual_activity(rows: pl.DataFrame, earlier: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return a session's snapshots with ``z``, ``bucket_z``, ``is_known`` and ``is_unusual``.

    A contract with too short a history of its own is held against its moneyness and tenor bucket: a robust z of log(1 +
    volume) over all snapshots of the earlier sessions. ``is_known`` says whether either baseline was there.
    """
    marked = _with_buckets(rows)
    empty = pl.lit(None, pl.Float64)
    if not earlier:
        return marked.with_columns(
            empty.alias("z"),
            empty.alias("bucket_z"),
            pl.lit(False).alias("is_known"),
            pl.lit(False).alias("is_unusual"),
        )
    marked = contract_z(marked, daily_rows(earlier))
    past = _with_buckets(pl.concat(earlier[-BASELINE_ROWS:], how="diagonal"))
    past = past.with_columns(pl.col("volume").log1p().alias("log_volume"))
    centre = pl.col("log_volume").median()
    baseline = past.group_by(_BUCKET).agg(
        centre.alias("centre"), (pl.col("log_volume") - centre).abs().median().alias("spread"), pl.len().alias("rows")
    )
    baseline = baseline.filter((pl.col("rows") >= BASELINE_LEAST) & (pl.col("spread") > 0))
    robust = (pl.col("volume").log1p() - pl.col("centre")) / (ROBUST_SIGMA * pl.col("spread"))
    marked = marked.join(baseline, on=list(_BUCKET), how="left", maintain_order="left")
    marked = marked.with_columns(robust.alias("bucket_z"))
    score = pl.coalesce("z", "bucket_z")
    return marked.drop("centre", "spread", "rows").with_columns(
        score.is_not_null().alias("is_known"),
        ((score > UNUSUAL_Z) & (pl.col("volume_usd") > UNUSUAL_USD)).fill_null(False).alias("is_unusual"),
    )


def options_signals(history: Sequence[pl.DataFrame], settings: Settings, session: Session) -> pl.DataFrame:
    """Return the option signals of the last session in ``history``, one row a snapshot and symbol.

    Parameters
    ----------
    history : sequence of pl.DataFrame
        Raw option frames, one a session, oldest first, the session's own last: ``ts_known, ts_snapshot, symbol,
        contract, is_call, strike, expiry_ns, iv, delta, volume, volume_usd, underlying`` and more.
    settings : Settings
        Symbols that the data root does not have are left out.
    session : Session
        Unused beyond its place in ``history``: every row carries its own time.

    Returns
    -------
    pl.DataFrame
        ``ts_known, symbol`` and, as float64 with NaN for unknown: ``options_unusual_score``, premium of unusual
        short-dated calls minus puts over their sum, 0 where nothing is unusual, NaN without any baseline;
        ``options_volume_imbalance``, contracts of calls minus puts over their sum; ``options_skew``, implied volatility
        of the 25-delta call minus the put's at the tenor nearest 30 days; ``options_atm_iv``, at that tenor.
    """
    columns = SIGNAL_COLUMNS["options"]
    rows = history[-1].filter(pl.col("symbol").is_in([item.symbol for item in settings.instruments]))
    marked = unusual_activity(rows, history[:-1])
    key = ("ts_known", "symbol")
    call = pl.when(pl.col("is_call")).then(1.0).otherwise(-1.0)
    usd = pl.col("volume_usd").filter(pl.col("is_unusual") & (pl.col("days") < SHORT_TENOR_DAYS))
    signed_usd = (pl.col("volume_usd") * call).filter(pl.col("is_unusual") & (pl.col("days") < SHORT_TENOR_DAYS))
    ratio = pl.when(usd.sum() > 0).then(signed_usd.sum() / usd.sum()).otherwise(0.0)
    flows = marked.group_by(key).agg(
        pl.when(pl.col("is_known").any()).then(ratio).otherwise(None).alias(columns[0]),
        ((pl.col("volume") * call).sum() / pl.col("volume").sum()).alias(columns[1]),
    )
    found = flows.join(_smile(marked), on=key, how="left").sort(key)
    return found.select(*key, *(pl.col(name).cast(pl.Float64).fill_null(float("nan")) for name in columns))


def _smile(marked: pl.DataFrame) -> pl.DataFrame:
    """Return skew and at-the-money volatility of each snapshot and symbol, from the expiry nearest 30 days."""
    usable = marked.filter(
        pl.col("iv").is_not_null() & pl.col("delta").is_not_null() & (pl.col("iv") > 0) & (pl.col("days") > 1.0)
    )
    key = ("ts_known", "symbol")
    away = (pl.col("days") - SHORT_TENOR_DAYS).abs()
    nearest = usable.filter(away == away.min().over(key))

    def at(delta: float) -> pl.Expr:
        return pl.col("iv").sort_by((pl.col("delta") - delta).abs()).first()

    is_call = pl.col("is_call")
    calls = nearest.filter(is_call).group_by(key).agg(at(0.25).alias("call_25"), at(0.5).alias("call_50"))
    puts = nearest.filter(~is_call).group_by(key).agg(at(-0.25).alias("put_25"), at(-0.5).alias("put_50"))
    both = calls.join(puts, on=key)
    return both.select(
        *key,
        (pl.col("call_25") - pl.col("put_25")).alias("options_skew"),
        ((pl.col("call_50") + pl.col("put_50")) / 2.0).alias("options_atm_iv"),
    )
