"""Social signals: what posts about an instrument say, as of the moment each was known."""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.signals.columns import SIGNAL_COLUMNS
from features.signals.sentiment import SentimentModel, build_sentiment
from marketdata.clock import NS_PER_DAY, NS_PER_HOUR, Session
from marketdata.settings import Settings

WINDOW_NS: Final = NS_PER_DAY
LATEST_POSTS: Final = 50
LEAST_POSTS: Final = 10
"""A score is made of the newest posts of the last 24 hours, at most 50, and needs 10."""

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


def mentions(text: str, symbol: str) -> bool:
    """Return whether a text names a symbol, as cashtag in any case or as a word in capitals."""
    name = re.escape(symbol)
    return bool(re.search(rf"\$(?i:{name})(?![A-Za-z0-9])|(?<![A-Za-z0-9$]){name}(?![A-Za-z0-9])", text))


def social_signals(
    history: Sequence[pl.DataFrame], settings: Settings, session: Session, model: SentimentModel | None = None
) -> pl.DataFrame:
    """Return the social signals of the last session in ``history``, one row a post.

    Parameters
    ----------
    history : sequence of pl.DataFrame
        Raw posts, one frame a session, oldest first, the session's own last: ``ts_known, ts_posted, symbol, post_id,
        text, votes``. A post without a symbol counts for every instrument that it names; votes are as seen at
        ``ts_known``, null where the source does not keep them.
    settings : Settings
        Names the instruments and the classifier's folder.
    session : Session
        Unused beyond its place in ``history``: every row carries its own time.
    model : SentimentModel, optional
        Default: the one the settings name.

    Returns
    -------
    pl.DataFrame
        ``ts_known, symbol`` and: ``social_sentiment``, mean score of the window weighted by 1 + log(1 + votes), NaN
        below 10 posts; ``social_attention``, log of posts in the last hour over the window's hourly mean, both plus
        one.
    """
    scorer = model or build_sentiment(settings.sentiment_model)
    symbols = [item.symbol for item in settings.instruments]
    parts = [_named(frame, symbols) for frame in history[-2:]]
    posts = pl.concat(parts, how="vertical_relaxed").sort("ts_known", "symbol", "post_id", maintain_order=True)
    start = int(parts[0].get_column("ts_known").to_numpy().max()) if len(parts) > 1 and parts[0].height else 0
    scores = scorer.score(posts.get_column("text").to_list()) if posts.height else np.empty(0)
    posts = posts.with_columns(pl.Series("score", scores, pl.Float64))
    frames = [_of_symbol(posts.filter(pl.col("symbol") == symbol), symbol, start) for symbol in symbols]
    return pl.concat(frames).sort("ts_known", "symbol", maintain_order=True)


def _named(frame: pl.DataFrame, symbols: Sequence[str]) -> pl.DataFrame:
    """Return the posts with one row for each instrument they are about."""
    kept = frame.select("ts_known", "symbol", "post_id", "text", pl.col("votes").cast(pl.Float64))
    given = kept.filter(pl.col("symbol").is_in(symbols))
    loose = kept.filter(pl.col("symbol").is_null() | (pl.col("symbol") == ""))
    texts = loose.get_column("text").to_list()
    named = [loose.filter([mentions(text, symbol) for text in texts]) for symbol in symbols] if texts else []
    placed = [part.with_columns(pl.lit(symbol).alias("symbol")) for part, symbol in zip(named, symbols, strict=False)]
    return pl.concat([given, *placed], how="vertical_relaxed")


def _of_symbol(posts: pl.DataFrame, symbol: str, start: int) -> pl.DataFrame:
    known = posts.get_column("ts_known").to_numpy()
    score = posts.get_column("score").to_numpy()
    weight = 1.0 + np.log1p(np.maximum(posts.get_column("votes").fill_null(0.0).to_numpy(), 0.0))
    emitted = np.flatnonzero(known > start)
    sentiment = np.full(len(emitted), np.nan)
    attention = np.empty(len(emitted))
    for row, k in enumerate(emitted):
        now = known[k]
        first = np.searchsorted(known, now - WINDOW_NS, side="right")
        hour = np.searchsorted(known, now - NS_PER_HOUR, side="right")
        attention[row] = np.log1p(k + 1 - hour) - np.log1p((k + 1 - first) * NS_PER_HOUR / WINDOW_NS)
        if k + 1 - first >= LEAST_POSTS:
            chosen = slice(max(int(first), int(k) + 1 - LATEST_POSTS), int(k) + 1)
            sentiment[row] = np.sum(weight[chosen] * score[chosen]) / np.sum(weight[chosen])
    names = SIGNAL_COLUMNS["social"]
    columns = {"ts_known": known[emitted], "symbol": [symbol] * len(emitted), names[0]: sentiment, names[1]: attention}
    return pl.DataFrame(columns, schema={"ts_known": pl.Int64, "symbol": pl.String, **dict.fromkeys(names, pl.Float64)})
