"""Tweets on one share with the second of their posting, no votes, as a public collection keeps them.

A tweet counts as known :data:`POLL_NS` after its time stamp. The texts were cleaned by the collector: lower case, no stop
words, no punctuation, so negations and irony are gone. There are no vote counts (``votes`` 0, weight 1).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import polars as pl

from marketdata.clock import NS_PER_MINUTE
from marketdata.codecs.deribit import utc_ns
from marketdata.codecs.tables import TEXT, SourceError, read_table
from marketdata.slow_data import SOCIAL, slow_frame

POLL_NS: Final = 15 * NS_PER_MINUTE
FILES: Final = "social/tsla_tweets_2021_2022/tweets*.csv*"
SCHEMA: Final = dict.fromkeys(("Date", "Tweet", "Stock Name", "Company Name"), TEXT)


def find_files(folders: Sequence[Path]) -> list[Path]:
    """Return the files of tweets.

    Raises
    ------
    SourceError
        If there is none.
    """
    paths = [path for folder in folders for path in sorted(folder.glob(FILES))]
    if not paths:
        raise SourceError(folders[0] / FILES, "no such file")
    return paths


def read_tweets(path: Path) -> pl.DataFrame:
    """Return a file as slow raw posts, sorted by ``ts_known``.

    Raises
    ------
    SourceError
        If it is malformed.
    """
    table = read_table(path, SCHEMA, header=True, nullable=("Tweet",))
    posted = utc_ns(table, "Date", path)
    return slow_frame(
        SOCIAL,
        table.select(
            (posted + POLL_NS).alias("ts_known"),
            posted.alias("ts_posted"),
            pl.col("Stock Name").alias("symbol"),
            pl.int_range(pl.len()).cast(pl.String).str.zfill(8).alias("post_id"),
            pl.col("Tweet").fill_null("").alias("text"),
            pl.lit(0, pl.Int64).alias("votes"),
        ),
    )
