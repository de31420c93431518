"""News headlines and Reddit posts on Bitcoin, as a collector stored them from feeds.

A post counts as known :data:`POLL_NS` after its time stamp: feeds are polled. It belongs to every coin that its title
or text names as a word or cashtag; a post that names none is left out. There are no vote counts with a time
(``votes`` 0, weight 1).

Rows whose id starts with ``backfill_`` are left out: they were not posted by anyone, their titles come from a few
templates ("Analysts {bullish, positive, mixed} on Bitcoin's {short, medium, long}-term outlook") with prices that
nobody knew then. The machine scores of the file are not read.
"""

import html
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import polars as pl

from marketdata.clock import NS_PER_MINUTE
from marketdata.codecs.deribit import utc_ns
from marketdata.codecs.tables import FLOAT, TEXT, SourceError, read_table
from marketdata.slow_data import SOCIAL, slow_frame

POLL_NS: Final = 15 * NS_PER_MINUTE
FOLDER: Final = "social/btc_news_reddit_2025_2026"
SCHEMA: Final = {
    "id": TEXT,
    "source": TEXT,
    "ts": TEXT,
    "title": TEXT,
    "text": TEXT,
    "model_polarity": FLOAT,
    "model_probs_json": TEXT,
}
NULLABLE: Final = ("text", "model_polarity", "model_probs_json")
GENERATED: Final = "backfill_"
NAMES: Final = {"BTC": r"(?i)\b(btc|xbt|bitcoin)s?\b", "ETH": r"(?i)\b(eth|ether|ethereum)\b"}
BOILERPLATE: Final = r"\s*submitted by\s+u/user\s*(\[link\])?\s*(\[comments\])?\s*"


def find_files(folders: Sequence[Path]) -> list[Path]:
    """Return the files of posts.

    Raises
    ------
    SourceError
        If there is none.
    """
    paths = [path for folder in folders for path in sorted((folder / FOLDER).glob("items*.csv*"))]
    if not paths:
        raise SourceError(folders[0] / FOLDER / "items.csv.gz", "no such file")
    return paths


def read_posts(path: Path) -> pl.DataFrame:
    """Return a file as slow raw posts, one row a post and coin, sorted by ``ts_known``.

    Raises
    ------
    SourceError
        If it is malformed.
    """
    return _read_posts(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read_posts(path: Path, modified_ns: int) -> pl.DataFrame:
    table = read_table(path, SCHEMA, header=True, nullable=NULLABLE)
    posted = utc_ns(table, "ts", path)
    posts = table.select(
        (posted + POLL_NS).alias("ts_known"),
        posted.alias("ts_posted"),
        pl.col("id").alias("post_id"),
        pl.concat_str("title", pl.col("text").fill_null(""), separator=". ")
        .map_elements(html.unescape, return_dtype=pl.String)
        .str.replace_all(BOILERPLATE, " ")
        .str.replace_all(r"\s+", " ")
        .str.strip_chars(" .")
        .alias("text"),
        pl.lit(0, pl.Int64).alias("votes"),
    ).filter(~pl.col("post_id").str.starts_with(GENERATED))
    named = [
        posts.filter(pl.col("text").str.contains(pattern)).with_columns(pl.lit(symbol).alias("symbol"))
        for symbol, pattern in NAMES.items()
    ]
    return slow_frame(SOCIAL, pl.concat(named))
