"""The recorded markets of the study: each signal made by the production code, day by day, beside the prices that followed.

- ``crypto``: BTC and ETH, chains, posts and transfers of 2025-12-30 to the end of the hourly prices; decisions at 22:00
  UTC (after the day's chain), prices as of the last hourly close.
- ``MSTR``, ``TSLA``, ``SPX 2019``, ``SPX 2026``: option chains after the close; decisions at each snapshot, the price the
  chain's own underlying, so the return runs to the next snapshot.
- ``TSLA tweets``: posts of 2021-11 to 2022-06; decisions at the close, daily closes.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.signals.columns import HISTORY_SESSIONS
from features.signals.onchain import onchain_signals
from features.signals.options import options_signals
from features.signals.sentiment import SentimentModel
from features.signals.social import social_signals
from features.signals.study import SignalSeries
from marketdata.clock import NS_PER_DAY, NS_PER_HOUR, Session
from marketdata.codecs import equity_chains, tweets
from marketdata.codecs.tables import SourceError
from marketdata.instruments import BookKind, Instrument
from marketdata.settings import Settings, validate_settings
from marketdata.sources import build_source, preset

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Progress = Callable[[str], None]

MARKETS: Final = ("crypto", *equity_chains.CHAINS, "TSLA tweets")
DECISION_HOUR: Final = 22
CHAIN_AGE_NS: Final = 12 * NS_PER_HOUR
"""A chain is a day's: one that is older than this at a decision is yesterday's, and counts as unknown."""
YAHOO_DAILY: Final = "prices/yfinance_25_tickers_2021_2022/prices_20210930_20220731.csv.gz"


def study_series(
    folder: Path,
    markets: Sequence[str] = MARKETS,
    *,
    model: SentimentModel | None = None,
    progress: Progress | None = None,
) -> Iterator[SignalSeries]:
    """Yield the series of the markets asked for, in their order.

    Parameters
    ----------
    folder : Path
        Recorded data.
    model : SentimentModel, optional
        Scores the posts; default: the lexicon.

    Raises
    ------
    SourceError
        If a recording is missing or malformed.
    ValueError
        If a market is none of :data:`MARKETS`.
    """
    say = progress or (lambda market: None)
    for market in markets:
        if market not in MARKETS:
            raise ValueError(f"{market!r} is none of {', '.join(MARKETS)}")
        say(market)
        if market == "crypto":
            yield from _crypto(folder, model)
        elif market == "TSLA tweets":
            yield from _tweets(folder, model)
        else:
            yield from _chains(folder, market)


def _crypto(folder: Path, model: SentimentModel | None) -> Iterator[SignalSeries]:
    settings = preset("crypto_2026", folder)
    source = build_source(settings)
    sessions = source.sessions()
    decisions = np.array([session.open_ns + DECISION_HOUR * NS_PER_HOUR for session in sessions])
    signals = {}
    for kind in source.slow_kinds:
        frames = [source.slow_raw(kind, session.date) for session in sessions]
        signals[kind] = _by_day(kind, frames, settings, sessions, model)
    for item in settings.instruments:
        hours = pl.concat([source.raw_ticks(session.date, item.symbol) for session in sessions])
        prices = hourly_prices(hours, decisions)
        for kind, frame in signals.items():
            mine = frame.filter(pl.col("symbol") == item.symbol)
            if mine.height:
                age = CHAIN_AGE_NS if kind == "options" else NS_PER_DAY
                yield SignalSeries("crypto", item.symbol, kind, mine, decisions, prices, age)


def hourly_prices(hours: pl.DataFrame, times: Int64) -> Float64:
    """Return the close of the last hour that was complete at each time, float64 of shape (D,); NaN before the first."""
    ends = hours.get_column("open_time").to_numpy() * 1_000_000 + NS_PER_HOUR
    closes = hours.get_column("close").to_numpy()
    place = np.searchsorted(ends, times, side="right") - 1
    return np.where(place >= 0, closes[np.maximum(place, 0)], np.nan)


def _chains(folder: Path, market: str) -> Iterator[SignalSeries]:
    rows = pl.concat([equity_chains.read_chain(path) for path in equity_chains.find_files([folder], market)])
    (symbol,) = rows["symbol"].unique().to_list()
    settings = _settings(symbol)
    frames = [frame for _, frame in sorted(rows.partition_by("ts_snapshot", as_dict=True).items())]
    # A chain read after midnight still belongs to the session before: the place in the history is its own.
    sessions = [Session(_day(frame), 0, 0) for frame in frames]
    signals = _by_day("options", frames, settings, sessions, None)
    decisions = signals["ts_known"].to_numpy()
    prices = np.array([float(np.median(frame["underlying"].to_numpy())) for frame in frames])
    yield SignalSeries(market, symbol, "options", signals, decisions, prices, 0)


def _day(frame: pl.DataFrame) -> date:
    found: date = pl.from_epoch(frame["ts_snapshot"].head(1), time_unit="ns").dt.date()[0]
    return found


def _tweets(folder: Path, model: SentimentModel | None) -> Iterator[SignalSeries]:
    posts = pl.concat([tweets.read_tweets(path) for path in tweets.find_files([folder])])
    settings = _settings("TSLA")
    first, last = _day_of(posts["ts_known"].min()), _day_of(posts["ts_known"].max())
    sessions = settings.market_calendar().sessions(first, last)
    frames = [
        posts.filter((pl.col("ts_known") >= session.open_ns) & (pl.col("ts_known") < session.close_ns))
        for session in sessions
    ]
    signals = _by_day("social", frames, settings, sessions, model)
    path = folder / YAHOO_DAILY
    if not path.is_file():
        raise SourceError(path, "no such file")
    closes = pl.read_csv(path).filter(pl.col("StockName") == "TSLA").select(pl.col("Date").str.to_date(), "Close")
    price = dict(closes.iter_rows())
    days = [s for s in equity_chains.CALENDAR.sessions(first + timedelta(days=1), last) if s.date in price]
    decisions = np.array([session.close_ns for session in days])
    prices = np.array([price[session.date] for session in days])
    yield SignalSeries("TSLA tweets", "TSLA", "social", signals, decisions, prices, NS_PER_DAY)


def _day_of(ns: object) -> date:
    return datetime.fromtimestamp(int(ns) // 10**9, UTC).date()  # type: ignore[call-overload]  # a column's own minimum


def _by_day(
    kind: str,
    frames: Sequence[pl.DataFrame],
    settings: Settings,
    sessions: Sequence[Session],
    model: SentimentModel | None,
) -> pl.DataFrame:
    """Return a kind's signals of every session, each made from the history that the night would give it."""
    found = []
    for place, session in enumerate(sessions):
        known = frames[max(0, place + 1 - HISTORY_SESSIONS[kind]) : place + 1]
        if kind == "options":
            found.append(options_signals(known, settings, session))
        elif kind == "social":
            found.append(social_signals(known, settings, session, model))
        else:
            found.append(onchain_signals(known, settings, session))
    return pl.concat(found).sort("ts_known", maintain_order=True)


def _settings(symbol: str) -> Settings:
    """Return settings of one share on a calendar of whole days: the signals read symbols and calendar of them."""
    item = Instrument(
        symbol=symbol,
        instrument_id=0,
        venue="US",
        unit_nanos=1_000_000,
        tick_units=10,
        price_decimals=0.001,
        book_kind=BookKind.BAR,
    )
    values = {
        "source": "crypto_2026",
        "calendar": "24/7",
        "time_zone": "UTC",
        "start_date": date(2019, 1, 1),
        "sessions": 1,
        "instruments": [item.model_dump()],
    }
    return validate_settings(values, "study")
