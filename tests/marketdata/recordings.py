"""Small made-up recordings in the file formats of the recorded sources."""

import gzip
import zipfile
from pathlib import Path

import numpy as np

LOBSTER_DAY = "2012-06-21"
HEADER_BARS = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)
HEADER_OPTIONS = (
    "timestamp,instrument_name,underlying,underlying_name,option_type,strike,expiry_datetime,time_to_maturity,bid_price,"
    "ask_price,mark_price,mid_price,futures_price,futures_instrument_name,implied_volatility,delta,vega,open_interest,volume,"
    "bid_ask_spread,currency,index_price,volume_usd"
)
CRYPTO_START_MS = 1_767_052_800_000  # 2025-12-30
HOUR_MS = 3_600_000


def lobster_lines(rows: int, levels: int, seed: int) -> tuple[list[str], list[str]]:
    """A random book, far deeper than what is recorded of it: messages inside the window, and the top levels after each.

    As in the real files, an order that is outside the window gives no message, and levels come back into it.
    """
    rng = np.random.default_rng(seed)
    books: dict[int, dict[int, int]] = {1: {}, -1: {}}
    for k in range(12):
        books[1][10_000 - 100 * k] = int(rng.integers(1, 9)) * 10
        books[-1][10_100 + 100 * k] = int(rng.integers(1, 9)) * 10
    messages, recorded = [], []
    time = 34_200.0

    def top(side: int) -> list[int]:
        return sorted(books[side], reverse=side == 1)[:levels]

    while len(messages) < rows:
        side = int(rng.choice((1, -1)))
        best = {1: max(books[1]), -1: min(books[-1])}
        kind = int(rng.choice((1, 1, 3, 4, 5)))
        before = {s: [(p, books[s][p]) for p in top(s)] for s in (1, -1)}
        if kind == 1:
            price = best[-side] - side * 100 * int(rng.integers(1, 10))
            size = int(rng.integers(1, 9)) * 10
            books[side][price] = books[side].get(price, 0) + size
        elif kind == 5:
            price, size = (best[1] + best[-1]) // 2, 7
        else:
            price = best[side] if kind == 4 else int(rng.choice(list(books[side])))
            size = books[side][price]
            if len(books[side]) < 6:
                continue
            del books[side][price]
        after = {s: [(p, books[s][p]) for p in top(s)] for s in (1, -1)}
        if after == before and kind != 5:
            continue  # outside the window: the file does not show it
        time += float(rng.integers(1, 1_000_000)) / 1e9
        messages.append(f"{time:.9f},{kind},{len(messages) + 1},{size},{price},{side}")
        cells = [after[s][k] for k in range(levels) for s in (-1, 1)]
        recorded.append(",".join(f"{price},{size}" for price, size in cells))
    return messages, recorded


def write_lobster(folder: Path, symbol: str = "AMZN", *, rows: int = 400, levels: int = 3, seed: int = 3) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    messages, books = lobster_lines(rows, levels, seed)
    name = f"{symbol}_{LOBSTER_DAY}_34200000_57600000"
    for kind, lines in (("message", messages), ("orderbook", books)):
        path = folder / f"{name}_{kind}_{levels}.csv.gz"
        path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return folder


def write_lean(folder: Path, symbol: str, day: str, quotes: list[str] | None, trades: list[str]) -> Path:
    place = folder / "tick" / symbol
    place.mkdir(parents=True, exist_ok=True)
    for kind, lines in (("quote", quotes), ("trade", trades)):
        if lines is not None:
            with zipfile.ZipFile(place / f"{day}_{kind}.zip", "w") as archive:
                archive.writestr(f"{day}_{symbol}_{kind}.csv", "\n".join(lines) + "\n")
    return folder


def bar_lines(hours: int, base: float, seed: int, *, skip: tuple[int, ...] = ()) -> list[str]:
    rng = np.random.default_rng(seed)
    lines = [HEADER_BARS]
    price = base
    for k in range(hours):
        close = round(price * (1 + float(rng.normal(0, 0.005))), 1)
        high, low = max(price, close) + 10, min(price, close) - 10
        volume, bought = 1_000.5, 400.25
        start = CRYPTO_START_MS + k * HOUR_MS
        turnover = volume * (price + close) / 2
        row = (start, price, high, low, close, volume, start + HOUR_MS - 1, turnover, 99, bought, turnover * 0.4, 0)
        if k not in skip:
            lines.append(",".join(str(value) for value in row))
        price = close
    return lines


def write_crypto(folder: Path, *, hours: int = 48, skip: tuple[int, ...] = ()) -> Path:
    def put(path: str, lines: list[str]) -> None:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))

    for symbol, base, seed in (("BTC", 88_000.0, 1), ("ETH", 2_900.0, 2)):
        put(f"prices/crypto_1h_2024_2026/{symbol}USDT_1h_202512_202512.csv.gz", bar_lines(hours, base, seed, skip=skip))
    option = (
        "2025-12-30T21:17:51.988211+00:00,BTC-16JAN26-100000-C,88063.1,X,call,100000.0,2026-01-16T08:00:00+00:00,0.04,,"
        "0.003,0.002,,,,0.4,0.1,9.0,269.2,111.3,,BTC,88063.13,30176.47"
    )
    put("options/deribit_snapshots/daily/deribit_daily_202512.csv.gz", [HEADER_OPTIONS, option])
    posts = [
        "id,source,ts,title,text,model_polarity,model_probs_json",
        "news_1,news,2025-12-30 10:00:00.000000,Bitcoin and Ethereum rise,More &amp; more,,",
        "reddit_2,r/Bitcoin,2025-12-30 11:00:00.000000,What is a wallet?,submitted by &#32; u/user [link] [comments],,",
        "backfill_3,news,2025-12-30 12:00:00.000000,Analysts bullish on Bitcoin's long-term outlook,,,",
    ]
    put("social/btc_news_reddit_2025_2026/items.csv.gz", posts)
    named = '"{""exchange_address"":""1G"",""exchange_name"":""Bybit""}"'
    both = '"{""outflow_exchanges"":{""a"":""OKX""},""inflow_exchanges"":{""b"":""OKX""}}"'
    transfers = [
        "txid,timestamp,value_btc,fee_btc,classification,exchange_details_json,vin_addresses_json,vout_addresses_json",
        f"t1,2025-12-30T05:00:00,300.0,0.1,inflow,{named},[],[]",
        f"t2,2025-12-30T06:00:00,250.0,0.1,outflow,{named},[],[]",
        f"t3,2025-12-30T07:00:00,400.0,0.1,mixed,{both},[],[]",
        "t4,2025-12-30T23:30:00,500.0,0.1,unknown,,[],[]",
    ]
    put("onchain/btc_whales_2026/whale_tx_20251221_20251231.csv.gz", transfers)
    return folder
