"""Default settings of each source, found from the data folder where there is one.

Fees, in parts per million of the notional (1 bp = 100 ppm):

- simulated: taker 30 (0.3 bp), maker as certified for the simulated market (``docs/decisions``);
- US equities: $0.0030 a share to take, $0.0020 rebate to make (the cap of Regulation NMS rule 610 and a usual rebate),
  in ppm of the instrument's first recorded price: 13 for a $224 share, 215 for a $14 share;
- crypto: taker 400, maker 200 (USD-margined futures without volume discounts).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final, get_args

from marketdata.clock import NS_PER_HOUR, NS_PER_S, Calendar
from marketdata.codecs import bars, deribit, lean, lobster, reddit, whales
from marketdata.codecs.tables import SourceError
from marketdata.instruments import BookKind, Fees, Instrument
from marketdata.settings import (
    GateSettings,
    LabelSettings,
    LatencySettings,
    RiskSettings,
    SamplingSettings,
    Settings,
    SettingsError,
    SimulatorSettings,
    SourceName,
    StrategySettings,
    TrainingSettings,
)

SOURCES: Final[tuple[SourceName, ...]] = get_args(SourceName)
"""Every source there is."""

SIMULATED_SYMBOLS: Final = ("ALFA", "BRAVO", "CHARLIE", "DELTA", "ECHO")
SIMULATED_START: Final = date(2026, 1, 5)
DEMO_SESSIONS: Final = 9
"""Eight nights, and the session that is traded after the last decision."""
SIMULATED_FEES: Final = Fees(maker_ppm=0, taker_ppm=30)

TAKE_USD_PER_SHARE: Final = 0.0030
MAKE_USD_PER_SHARE: Final = 0.0020
CRYPTO_FEES: Final = Fees(maker_ppm=200, taker_ppm=400)
CRYPTO_START: Final = date(2025, 12, 30)
"""The first day with option chains."""


def preset(source: str, data: Path | None, *, signal: float = 1.0, sessions: int | None = None) -> Settings:
    """Return the default settings of a source.

    Parameters
    ----------
    source : str
        One of :data:`SOURCES`.
    data : Path or None
        Folder of the recorded data; None for ``simulated``.
    signal : float
        Strength of the planted edge of the simulated market; 0 gives the market in which nothing pays. Others ignore
        it.
    sessions : int, optional
        Sessions that the root spans; default: nine for ``simulated``, else all recorded ones.

    Raises
    ------
    SettingsError
        If the source is unknown, or the folder is missing, or it lacks a file that the source needs; the path is named.
    """
    if source == "simulated":
        if data is not None:
            raise SettingsError(f"{data}: the simulated source takes no data folder")
        return _simulated(signal, sessions or DEMO_SESSIONS)
    if source not in SOURCES:
        raise SettingsError(f"unknown source {source!r}; there are {', '.join(SOURCES)}")
    if source == "recorded":
        raise SettingsError(
            "a root of recordings is made by `flowsense ingest PATH…` or `flowsense run --source recorded --data PATH`"
        )
    if data is None:
        raise SettingsError(f"source {source} needs the folder of its data (DATA=…)")
    folder = Path(data).resolve()
    if not folder.exists():
        raise SettingsError(f"{data}: no such folder")
    if not folder.is_dir():
        raise SettingsError(f"{data}: not a folder")
    try:
        if source == "lobster":
            return _lobster(folder, sessions)
        if source == "lean_equity":
            return _lean_equity(folder, sessions)
        return _crypto_2026(folder, sessions)
    except SourceError as error:
        raise SettingsError(str(error)) from error


def _simulated(signal: float, sessions: int) -> Settings:
    instruments = tuple(
        Instrument(
            symbol=symbol,
            instrument_id=k,
            venue="SIM",
            unit_nanos=NS_PER_S,  # one cent of a lot of 100 shares is one dollar
            price_decimals=0.01,
            lot_size=100.0,
            fees=SIMULATED_FEES,
        )
        for k, symbol in enumerate(SIMULATED_SYMBOLS)
    )
    world = SimulatorSettings(signal=signal, world="n1" if signal == 0 else "market")
    return Settings(
        source="simulated",
        calendar="XNYS",
        time_zone="America/New_York",
        start_date=SIMULATED_START,
        sessions=sessions,
        instruments=instruments,
        simulator=world,
        # A lot is worth some $10,000 and a bet at most a tenth of the capital: with less, some instruments could never trade.
        strategy=StrategySettings(capital=250_000.0),
    )


def _equity(symbol: str, number: int, venue: str, first_price: float, kind: BookKind) -> Instrument:
    """Return a US share quoted in 1/10,000 dollar with a cent tick and lots of one share."""
    return Instrument(
        symbol=symbol,
        instrument_id=number,
        venue=venue,
        unit_nanos=100_000,
        tick_units=100,
        price_decimals=0.0001,
        book_kind=kind,
        fees=Fees(
            maker_ppm=-round(MAKE_USD_PER_SHARE / first_price * 1e6),
            taker_ppm=round(TAKE_USD_PER_SHARE / first_price * 1e6),
        ),
    )


SHARES_STRATEGY: Final = StrategySettings(order_lots=100, max_position_lots=500)
SHARES_RISK: Final = RiskSettings(max_order_lots=500, max_position_lots=1_000)


def _lobster(folder: Path, sessions: int | None) -> Settings:
    found = lobster.find_files([folder])
    if not found:
        raise SettingsError(
            f"{folder}: no pair of SYMBOL_DATE_START_END_message_L.csv.gz and …_orderbook_L.csv.gz in it"
        )
    symbols = sorted({file.symbol for file in found})
    prices = {s: lobster.first_price(next(f for f in found if f.symbol == s)) for s in symbols}
    # The instrument with the deeper book comes first.
    symbols.sort(key=lambda s: (-max(f.levels for f in found if f.symbol == s), s))
    return Settings(
        source="lobster",
        data=folder,
        calendar="XNYS",
        time_zone="America/New_York",
        start_date=min(file.day for file in found),
        sessions=sessions or _span(sorted({file.day for file in found})),
        instruments=tuple(_equity(s, k, "NASDAQ", prices[s], BookKind.MATCHING) for k, s in enumerate(symbols)),
        sampling=SamplingSettings(every_events=25),
        training=TrainingSettings(fold_unit="block", block_minutes=30, min_instruments=1, time_of_day_features=False),
        strategy=SHARES_STRATEGY,
        risk=SHARES_RISK,
    )


def _lean_equity(folder: Path, sessions: int | None) -> Settings:
    """Return the settings of quotes and trades (R7).

    Symbols with tick quotes are traded, one with trades only is a predictor. The busiest stock stays below 20,000 rows
    a day.
    """
    days = lean.find_days([folder])
    if not days:
        raise SettingsError(f"{folder}: no tick/SYMBOL/DATE_trade.zip in it")
    quoted = sorted({s for (s, day), kinds in days.items() if "quote" in kinds and "trade" in kinds})
    trades_only = sorted({s for (s, day) in days} - set(quoted))
    if not quoted:
        raise SettingsError(f"{folder}: no tick/SYMBOL/DATE_quote.zip in it")
    dates = sorted({day for _, day in days})
    instruments = []
    for k, symbol in enumerate((*quoted, *trades_only)):
        kind = BookKind.NBBO if symbol in quoted else BookKind.TRADES_ONLY
        day = min(d for s, d in days if s == symbol)
        instruments.append(_equity(symbol.upper(), k, "US", lean.first_price([folder], symbol, day), kind))
    return Settings(
        source="lean_equity",
        data=folder,
        calendar="XNYS",
        time_zone="America/New_York",
        start_date=dates[0],
        sessions=sessions or _span(dates),
        instruments=tuple(instruments),
        sampling=SamplingSettings(every_events=75),
        training=TrainingSettings(fold_unit="block", block_minutes=195, min_instruments=min(2, len(quoted))),
        strategy=SHARES_STRATEGY,
        risk=SHARES_RISK,
    )


@dataclass(frozen=True, slots=True)
class _Coin:
    symbol: str
    tick_units: int


COINS: Final = (_Coin("BTC", 10), _Coin("ETH", 1))
"""Both in units of 0.01 dollar and lots of 0.001 coin; a bar's mean price may lie between ticks."""


def _crypto_2026(folder: Path, sessions: int | None) -> Settings:
    """Return the settings of hourly bars (R7): windows in hours, warmed up over four days, weeks as folds."""
    ends = [bars.last_hour_ns([folder], coin.symbol) for coin in COINS]
    for finder in (deribit.find_files, reddit.find_files, whales.find_files):
        finder([folder])
    start_ns = bars.day_start_ns(CRYPTO_START)
    days = (min(ends) - start_ns) // (24 * NS_PER_HOUR)
    if days < 1:
        raise SettingsError(f"{folder}: the hourly bars end before {CRYPTO_START}")
    hour = NS_PER_HOUR
    return Settings(
        source="crypto_2026",
        data=folder,
        calendar="24/7",
        time_zone="UTC",
        start_date=CRYPTO_START,
        sessions=sessions or days,
        instruments=tuple(
            Instrument(
                symbol=coin.symbol,
                instrument_id=k,
                venue="BINANCE-USDM",
                unit_nanos=10_000,
                tick_units=coin.tick_units,
                price_decimals=0.01,
                lot_size=0.001,
                book_kind=BookKind.BAR,
                fees=CRYPTO_FEES,
            )
            for k, coin in enumerate(COINS)
        ),
        sampling=SamplingSettings(
            every_events=bars.EVENTS_PER_BAR,
            windows_ns=(6 * hour, 24 * hour, 72 * hour),
            decays_per_s=(1 / 3_600, 1 / 14_400, 1 / 43_200),  # the slowest is forgotten within the warm-up
            warmup_sessions=4,
        ),
        label=LabelSettings(horizon_ns=hour, max_gap_ns=2 * hour),
        latency=LatencySettings(
            feed_ns=500_000
        ),  # a bar's close is known within its last millisecond: inside the session
        training=TrainingSettings(
            fold_unit="week", window_sessions=days, min_instruments=1, deep_steps=300, time_of_day_features=True
        ),
        strategy=StrategySettings(order_lots=100, max_position_lots=500),
        risk=RiskSettings(max_order_lots=500, max_position_lots=1_000),
        gate=GateSettings(clock_ns=hour),
    )


def _span(days: Sequence[date]) -> int:
    """Return how many sessions of the US calendar lie between the first and the last date, both included."""
    return len(Calendar("XNYS", "America/New_York").sessions(days[0], days[-1]))
