"""Slow data in the one form that every source gives it: option chains, posts, on-chain transfers.

Rows are sorted by ``ts_known``: the time at which we could have known them, which is never before they happened.
"""

from typing import Final

import polars as pl

OPTIONS: Final = "options"
SOCIAL: Final = "social"
ONCHAIN: Final = "onchain"
SLOW_KINDS: Final = (OPTIONS, SOCIAL, ONCHAIN)

SLOW_SCHEMAS: Final[dict[str, dict[str, type[pl.DataType]]]] = {
    OPTIONS: {
        "ts_known": pl.Int64,
        "ts_snapshot": pl.Int64,
        "symbol": pl.String,
        "contract": pl.String,
        "is_call": pl.Boolean,
        "strike": pl.Float64,
        "expiry_ns": pl.Int64,
        "bid": pl.Float64,
        "ask": pl.Float64,
        "mark": pl.Float64,
        "iv": pl.Float64,
        "delta": pl.Float64,
        "open_interest": pl.Float64,
        "volume": pl.Float64,
        "volume_usd": pl.Float64,
        "underlying": pl.Float64,
    },
    SOCIAL: {
        "ts_known": pl.Int64,
        "ts_posted": pl.Int64,
        "symbol": pl.String,
        "post_id": pl.String,
        "text": pl.String,
        "votes": pl.Int64,
    },
    ONCHAIN: {
        "ts_known": pl.Int64,
        "ts_block": pl.Int64,
        "symbol": pl.String,
        "tx_id": pl.String,
        "amount": pl.Float64,
        "from_label": pl.String,
        "to_label": pl.String,
        "label_known_since": pl.Int64,
        "dormant_days": pl.Float64,
    },
}
"""Columns by kind. A bid or ask that nobody quotes is null; an end without a label is ``""``; ``votes`` is 0 where
the source has no vote history (weight 1); ``label_known_since`` is :data:`NEVER` where neither end has a label;
``dormant_days`` is how long the sender had last received coins before it sent these, null where that is not known."""

HAPPENED: Final = {OPTIONS: "ts_snapshot", SOCIAL: "ts_posted", ONCHAIN: "ts_block"}
"""Column that says when a row happened."""
IDENTITY: Final = {
    OPTIONS: ("ts_snapshot", "contract"),
    SOCIAL: ("post_id", "symbol"),
    ONCHAIN: ("tx_id", "symbol"),
}
"""Columns that name a row; no two rows of a day share them."""
NEVER: Final = 2**63 - 1


def empty_slow(kind: str) -> pl.DataFrame:
    """Return a frame of a kind without rows."""
    return pl.DataFrame(schema=SLOW_SCHEMAS[kind])


def slow_frame(kind: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame's columns of a kind, cast and in a fixed order of rows."""
    schema = SLOW_SCHEMAS[kind]
    order = ["ts_known", *IDENTITY[kind]]
    return frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items()).sort(order)
