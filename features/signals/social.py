"""Social signals: what posts about an instrument say, as of the moment each was known."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from features.signals.columns import SIGNAL_COLUMNS
from features.signals.emission import emitted_span
from features.signals.sentiment import SentimentModel, build_sentiment
from features.signals.social_repeats import repeated
from marketdata.clock import NS_PER_DAY, NS_PER_HOUR, Session
from marketdata.settings import Settings

WINDOW_NS: Final = NS_PER_DAY
LATEST_POSTS: Final = 50
LEAST_POSTS: Final = 10
"""A score is made of the newest posts of the last 24 hours that repeat none before them, at most 50, and needs 10."""
HALF_LIFE_NS: Final = 6 * NS_PER_HOUR
"""A post's weight halves with every six hours since it was known."""
RECENT_NS: Final = 6 * NS_PER_HOUR
"""The change of sentiment compares these with the rest of the window."""

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_CASHTAG: Final = re.compile(r"\$([A-Za-z][A-Za-z0-9.]*)")


class _Posts(NamedTuple):
    """Posts of one symbol in the order in which they became known."""

    at: Int64
    score: Float64
    weight: Float64
    is_repeat: Bool


def mentions(text: str, symbol: str) -> bool:
    """Return whether a text names a symbol, as cashtag in any case or as a word in capitals."""
    name = re.escape(symbol)
    return bool(re.search(rf"\$(?i:{name})(?![A-Za-z0-9])|(?<![A-Za-z0-9$]){name}(?![A-Za-z0-9])", text))


def relevance(text: str) -> float:
    """Return how much of a post is about each symbol that it names: one over the number of different cashtags."""
    return 1.0 / max(1, len({name.upper().rstrip(".") for name in _CASHTAG.findall(text)}))


def social_signals(
    history: Sequence[pl.DataFrame], settings: Settings, session: Session, model: SentimentModel | None = None
) -> pl.DataFrame:
    """Return the social signals of a session, one row whenever posts become known of a symbol.

    Parameters
    ----------
    history : sequence of pl.DataFrame
        Raw posts, one frame a session, oldest first, the session's own last: ``ts_known, ts_posted, symbol, post_id,
        text, votes``. A post without a symbol counts for every instrument that it names; votes are as seen at
        ``ts_known``, null or 0 where the source does not keep them (weight 1). Posts of two days before decide every value: those
        of 24 hours, and for each of them whether it repeats one of the 24 hours before it.
    settings : Settings
        Names the instruments, the calendar and the classifier's folder.
    session : Session
        Rows become known from the close of the session before it up to its own close.
    model : SentimentModel, optional
        Default: the one the settings name.

    Returns
    -------
    pl.DataFrame
        ``ts_known, symbol`` and, NaN for unknown:

        - ``social_sentiment``: mean score of the newest posts of the window weighted by (1 + log(1 + votes)) ·
          relevance · 2^(-age / 6 h); ``social_dispersion``: standard deviation of the scores with the same weights;
          both NaN below 10 posts. A post that repeats an earlier one counts in neither.
        - ``social_attention``: log of posts in the last hour over the window's hourly mean, both plus one, repeats
          included.
        - ``social_sentiment_change``: sentiment of the last 6 hours minus that of the 18 hours before, 10 posts each.
        - ``social_repeats``: share of the window's posts that repeat an earlier one, NaN below 10.
    """
    scorer = model or build_sentiment(settings.sentiment_model)
    symbols = [item.symbol for item in settings.instruments]
    start, end = emitted_span(settings, session)
    named = [_named(frame, symbols) for frame in history]
    since = start - 2 * WINDOW_NS
    posts = pl.concat(named, how="vertical_relaxed").filter(pl.col("ts_known").is_between(since, end, closed="left"))
    posts = posts.sort("ts_known", "symbol", "post_id", maintain_order=True)
    texts = posts.get_column("text").to_list()
    different = list(dict.fromkeys(texts))
    score_of = dict(zip(different, scorer.score(different).tolist() if different else [], strict=True))
    posts = posts.with_columns(
        pl.Series("score", [score_of[text] for text in texts], pl.Float64),
        pl.Series("relevance", [relevance(text) for text in texts], pl.Float64),
    )
    frames = [_of_symbol(posts.filter(pl.col("symbol") == symbol), symbol, (start, end)) for symbol in symbols]
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


def _of_symbol(posts: pl.DataFrame, symbol: str, span: tuple[int, int]) -> pl.DataFrame:
    at = posts.get_column("ts_known").to_numpy()
    votes = np.maximum(posts.get_column("votes").fill_null(0.0).to_numpy(), 0.0)
    mine = _Posts(
        at,
        posts.get_column("score").to_numpy(),
        (1.0 + np.log1p(votes)) * posts.get_column("relevance").to_numpy(),
        repeated(at, posts.get_column("text").to_list(), WINDOW_NS),
    )
    times = np.unique(at[(at >= span[0]) & (at < span[1])])
    values = np.array([_values(mine, int(now)) for now in times]).reshape(len(times), 5)
    names = SIGNAL_COLUMNS["social"]
    columns = {"ts_known": times, "symbol": [symbol] * len(times), **{n: values[:, k] for k, n in enumerate(names)}}
    return pl.DataFrame(columns, schema={"ts_known": pl.Int64, "symbol": pl.String, **dict.fromkeys(names, pl.Float64)})


def _values(posts: _Posts, now: int) -> tuple[float, ...]:
    """Return the values at one moment, in the order of the columns."""
    first, recent, hour, end = (
        int(k) for k in np.searchsorted(posts.at, [now - WINDOW_NS, now - RECENT_NS, now - NS_PER_HOUR, now], "right")
    )
    count = end - first
    attention = float(np.log1p(end - hour) - np.log1p(count * NS_PER_HOUR / WINDOW_NS))
    repeats = float(posts.is_repeat[first:end].mean()) if count >= LEAST_POSTS else np.nan
    window = np.arange(first, end)
    own = window[~posts.is_repeat[first:end]]
    mean, spread = _mean(posts, own[-LATEST_POSTS:], now)
    change = _mean(posts, own[own >= recent], now)[0] - _mean(posts, own[own < recent], now)[0]
    return mean, attention, spread, change, repeats


def _mean(posts: _Posts, rows: Int64, now: int) -> tuple[float, float]:
    """Return weighted mean and standard deviation of the scores of some posts, NaN below ten of them."""
    if len(rows) < LEAST_POSTS:
        return np.nan, np.nan
    weight = posts.weight[rows] * np.exp2(-(now - posts.at[rows]) / HALF_LIFE_NS)
    score = posts.score[rows]
    mean = float((weight * score).sum() / weight.sum())
    return mean, float(np.sqrt((weight * (score - mean) ** 2).sum() / weight.sum()))


def social_summary(history: Sequence[pl.DataFrame], frame: pl.DataFrame, session: Session) -> str:
    """Return what the report says of a session's social signals: how many moments have posts enough for a score."""
    known = int(frame["social_sentiment"].is_not_nan().sum())
    if not frame.height:
        return "no posts, insufficient"
    word = f", insufficient at the others (fewer than {LEAST_POSTS} posts of 24 hours)" if known < frame.height else ""
    return f"a score at {known} of {frame.height} moments{word}"
