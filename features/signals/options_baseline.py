"""Unusual option activity: a contract's volume against its own history, or against contracts like it.

A baseline is made of earlier sessions only. Volumes of one contract are never summed over snapshots: some exchanges
publish a rolling 24-hour figure.
"""

from collections.abc import Sequence
from typing import Final

import polars as pl

from marketdata.clock import NS_PER_DAY

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
_NEEDED: Final = (
    *("ts_known", "ts_snapshot", "symbol", "contract", "is_call", "strike", "expiry_ns"),
    *("volume", "underlying"),
)


def with_buckets(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with ``days`` to expiry and the numbers of its ``moneyness`` and ``tenor`` buckets."""
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

    Parameters
    ----------
    rows : pl.DataFrame
        Raw option rows of one session.
    earlier : sequence of pl.DataFrame
        Those of the sessions before it, oldest first; the last 30 are looked at for buckets.
    """
    marked = with_buckets(rows)
    empty = pl.lit(None, pl.Float64)
    if not earlier:
        return marked.with_columns(
            empty.alias("z"),
            empty.alias("bucket_z"),
            pl.lit(False).alias("is_known"),
            pl.lit(False).alias("is_unusual"),
        )
    earlier = [frame.select(_NEEDED) for frame in earlier]
    marked = contract_z(marked, daily_rows(earlier))
    past = with_buckets(pl.concat(earlier[-BASELINE_ROWS:])).with_columns(pl.col("volume").log1p().alias("log_volume"))
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
