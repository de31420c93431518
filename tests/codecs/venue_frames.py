"""A small made-up session of every venue in the catalogue: its instruments, and frames in the venue's own form.

Nothing is recorded; numbers are round so that expected rows can be read off. Checksums are computed here, from the text of the
levels, by a few lines of their own.
"""

import json
from collections.abc import Mapping
from zlib import crc32

from marketdata.codecs.catalog import VENUES
from marketdata.codecs.decimals import inferred_instrument
from marketdata.frames import FrameBatch
from marketdata.instruments import Instrument
from marketdata.recordings import batch_of

START_NS = 1_700_000_000_000_000_000
MS = START_NS // 1_000_000
US = START_NS // 1_000
ISO = "2023-11-14T22:13:20.5Z"
Frame = tuple[str, bytes]


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _binance(chained: bool, rest: str, symbol: str) -> list[Frame]:
    wss = "wss://binance"

    def wrap(kind: str, data: dict[str, object]) -> Frame:
        return wss, _json({"stream": f"{symbol.lower()}@{kind}", "data": data})

    def depth(first: int, last: int, previous: int, b: list[list[str]], a: list[list[str]]) -> Frame:
        data: dict[str, object] = {"e": "depthUpdate", "E": MS + last, "s": symbol, "U": first, "u": last}
        if chained:
            data |= {"T": MS + last - 1, "pu": previous}
        return wrap("depth@100ms", data | {"b": b, "a": a})

    def trade(number: int, maker: bool) -> Frame:
        data = {"e": "trade", "E": MS, "s": symbol, "t": number, "p": "100.10", "q": "0.500", "T": MS + 1, "m": maker}
        return wrap("trade", data)

    snapshot = {
        "lastUpdateId": 12,
        "bids": [["100.00", "1.000"], ["99.90", "2.000"]],
        "asks": [["100.10", "3.000"], ["100.20", "4.000"]],
    }
    best = {"u": 21, "s": symbol, "b": "100.00", "B": "5.000", "a": "100.10", "A": "3.000"}
    return [
        (wss, b""),
        (wss, b'{"result":null,"id":1}'),
        depth(5, 10, 4, [["99.80", "9.000"]], []),
        depth(11, 15, 10, [["100.00", "1.500"]], [["100.20", "0.000"]]),
        (f"{rest}?symbol={symbol}&limit=1000", _json(snapshot)),
        depth(16, 20, 15, [["100.00", "5.000"]], [["100.10", "3.000"], ["100.30", "7.000"]]),
        trade(1, True),
        trade(2, False),
        trade(2, False),
        wrap("bookTicker", best),
        depth(16, 20, 15, [["100.00", "5.000"]], []),
        depth(21, 25, 20, [], []),
        depth(31, 35, 30, [["99.70", "1.000"]], []),
        depth(36, 40, 35, [["99.60", "1.000"]], []),
        (f"{rest}?symbol={symbol}&limit=1000", _json(snapshot | {"lastUpdateId": 38})),
        depth(41, 45, 40, [["99.50", "1.000"]], [["100.40", "2.000"]]),
        wrap("kline_1m", {"e": "kline", "E": MS, "s": symbol, "k": {}}),
        wrap("depth", {"e": "depthUpdate", "s": "OTHER", "E": MS, "U": 1, "u": 1}),
    ]


def _coinbase() -> list[Frame]:
    wss, product = "wss://coinbase", "BTC-USD"
    book = {"bids": [["100.00", "1"], ["99.99", "2"]], "asks": [["100.01", "3"]]}
    match = {"product_id": product, "trade_id": 7, "side": "sell", "size": "0.5", "price": "100.01", "time": ISO}

    def update(*changes: list[str]) -> Frame:
        return wss, _json({"type": "l2update", "product_id": product, "changes": list(changes), "time": ISO})

    return [
        (wss, b""),
        (wss, _json({"type": "subscriptions", "channels": []})),
        update(["buy", "100.00", "9"]),
        (wss, _json({"type": "snapshot", "product_id": product} | book)),
        (wss, _json({"type": "last_match"} | match)),
        update(["buy", "100.00", "4"], ["sell", "100.01", "0"], ["sell", "100.02", "1"]),
        (wss, _json({"type": "match"} | match)),
        (wss, _json({"type": "match"} | match)),
        (wss, b""),
        (wss, _json({"type": "snapshot", "product_id": product} | book)),
        update(["sell", "100.03", "1.25"]),
    ]


def kraken_checksum(bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> int:
    """Kraken's checksum of the levels given, best first."""
    digits = [text.replace(".", "").lstrip("0") for level in (*asks[:10], *bids[:10]) for text in level]
    return crc32("".join(digits).encode())


def _kraken() -> list[Frame]:
    wss, pair = "wss://kraken", "XBT/USD"

    def one(content: list[dict[str, object]], name: str = "book-1000") -> Frame:
        return wss, _json([336, *content, name, pair])

    def two(kind: str, data: dict[str, object]) -> Frame:
        body = json.dumps({"channel": "book", "type": kind, "data": [data]}, separators=(",", ":"))
        return wss, body.replace('"~', "").replace('~"', "").encode()

    def level(price: str, qty: str) -> dict[str, str]:
        return {"price": f"~{price}~", "qty": f"~{qty}~"}

    at = "1700000000.500000"
    after = kraken_checksum([("100.00", "4.00000000"), ("99.90", "2.00000000")], [("100.20", "1.00000000")])
    again = kraken_checksum([("100.00", "4.00000000")], [("100.20", "1.00000000")])
    wrong = (again + 1) % 2**32
    fresh = kraken_checksum([("100.0", "1.50000000")], [("100.1", "2.00000000")])
    return [
        (wss, b""),
        (wss, b'{"event":"heartbeat"}'),
        one(
            [{"as": [["100.10", "3.00000000", at]], "bs": [["100.00", "1.00000000", at], ["99.90", "2.00000000", at]]}]
        ),
        one(
            [
                {"a": [["100.10", "0.00000000", at], ["100.20", "1.00000000", at, "r"]]},
                {"b": [["100.00", "4.00000000", at]], "c": str(after)},
            ]
        ),
        (wss, _json([337, [["100.00", "0.50000000", at, "s", "m", ""]], "trade", pair])),
        one([{"b": [["99.90", "0.00000000", at]], "c": str(again)}]),
        one([{"b": [["99.80", "0.00000000", at]], "c": str(wrong)}]),
        one([{"b": [["99.90", "1.00000000", at]], "c": str(again)}]),
        two(
            "snapshot",
            {
                "symbol": pair,
                "bids": [level("100.0", "1.50000000")],
                "asks": [level("100.1", "2.00000000")],
                "checksum": fresh,
                "timestamp": ISO,
            },
        ),
        (
            wss,
            b'{"channel":"trade","type":"update","data":[{"symbol":"XBT/USD","side":"buy","price":100.1,"qty":0.25,'
            b'"ord_type":"limit","trade_id":9,"timestamp":"2023-11-14T22:13:21.000001Z"}]}',
        ),
        (wss, b'{"method":"pong","time_in":"x"}'),
    ]


def _kraken_futures() -> list[Frame]:
    wss, product = "wss://kraken-futures", "PI_XBTUSD"

    def change(seq: int, side: str, price: str, qty: str) -> Frame:
        head = f'{{"feed":"book","product_id":"{product}","side":"{side}","seq":{seq},'
        return wss, (head + f'"price":{price},"qty":{qty},"timestamp":{MS}}}').encode()

    snapshot = {
        "feed": "book_snapshot",
        "product_id": product,
        "timestamp": MS,
        "seq": 10,
        "bids": [{"price": 100.5, "qty": 20.0}],
        "asks": [{"price": 101.0, "qty": 30.0}],
    }
    trade = {"feed": "trade", "product_id": product, "side": "buy", "seq": 5, "time": MS, "qty": 3.0, "price": 101.0}
    return [
        (wss, b""),
        (wss, _json({"event": "info", "version": 1})),
        change(9, "buy", "100.0", "1.0"),
        (wss, _json(snapshot)),
        change(11, "buy", "100.0", "5.0"),
        change(11, "buy", "100.0", "5.0"),
        (wss, _json(trade)),
        (wss, _json(trade)),
        change(12, "sell", "101.0", "0.0"),
        change(14, "sell", "101.5", "2.0"),
        change(15, "sell", "102.0", "2.0"),
        (wss, _json(snapshot | {"seq": 15})),
        change(16, "sell", "101.0", "1e1"),
    ]


def _bybit() -> list[Frame]:
    wss, symbol = "wss://bybit", "BTCUSDT"

    def book(kind: str, u: int, b: list[list[str]], a: list[list[str]]) -> Frame:
        data = {"s": symbol, "b": b, "a": a, "u": u, "seq": u * 10}
        return wss, _json({"topic": f"orderbook.50.{symbol}", "type": kind, "ts": MS + 2, "data": data, "cts": MS})

    def old(kind: str, seq: int, data: object) -> Frame:
        body = {
            "topic": f"orderBookL2_25.{symbol}",
            "type": kind,
            "data": data,
            "cross_seq": str(seq),
            "timestamp_e6": str(US),
        }
        return wss, _json(body)

    def level(price: str, side: str, size: float | None = None) -> dict[str, object]:
        given: dict[str, object] = {"price": price, "symbol": symbol, "id": price, "side": side}
        return given if size is None else given | {"size": size}

    trade = {"T": MS, "s": symbol, "S": "Buy", "v": "0.001", "p": "100.10", "L": "PlusTick", "i": "a-b", "BT": False}
    old_trade = {"symbol": symbol, "price": "100.00", "size": 0.14, "trade_time_ms": str(MS), "side": "Sell"}
    return [
        (wss, b""),
        (wss, _json({"success": True, "ret_msg": "", "conn_id": "x", "op": "subscribe"})),
        book("delta", 4, [], []),
        book("snapshot", 5, [["100.00", "1.000"]], [["100.10", "2.000"]]),
        book("delta", 6, [["100.00", "0"], ["99.90", "3.000"]], [["100.10", "2.500"]]),
        book("delta", 6, [["100.00", "0"]], []),
        (wss, _json({"topic": f"publicTrade.{symbol}", "type": "snapshot", "ts": MS, "data": [trade]})),
        book("delta", 8, [["99.80", "1.000"]], []),
        book("snapshot", 1, [["100.00", "1.000"]], [["100.10", "2.000"]]),
        book("delta", 2, [["99.90", "1.000"]], []),
        old("snapshot", 50, {"order_book": [level("100.00", "Buy", 2.5), level("100.10", "Sell", 3)]}),
        old("delta", 51, {"delete": [level("100.10", "Sell")], "update": [level("100.00", "Buy", 1)], "insert": []}),
        (wss, _json({"topic": f"trade.{symbol}", "data": [old_trade]})),
    ]


def okx_checksum(bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> int:
    """OKX's checksum of the levels given, best first."""
    parts = []
    for k in range(25):
        parts += [":".join(side[k]) for side in (bids, asks) if k < len(side)]
    value = crc32(":".join(parts).encode())
    return value - 2**32 if value >= 2**31 else value


def _okx() -> list[Frame]:
    wss, name = "wss://okx", "BTC-USDT"

    def book(action: str, b: list[list[str]], a: list[list[str]], value: int, seq: int, before: int) -> Frame:
        levels = {"bids": [[*x, "0", "1"] for x in b], "asks": [[*x, "0", "1"] for x in a]}
        data = levels | {"ts": str(MS), "checksum": value, "seqId": seq, "prevSeqId": before}
        return wss, _json({"arg": {"channel": "books", "instId": name}, "action": action, "data": [data]})

    first = okx_checksum([("100.0", "1")], [("100.1", "2"), ("100.3", "4")])
    second = okx_checksum([("100.0", "1"), ("99.9", "3")], [("100.3", "4")])
    trade = {"instId": name, "tradeId": "77", "px": "100.1", "sz": "0.5", "side": "buy", "ts": str(MS)}
    return [
        (wss, b""),
        (wss, _json({"event": "subscribe", "arg": {"channel": "books", "instId": name}})),
        book("update", [["1", "1"]], [], 1, 9, 8),
        book("snapshot", [["100.0", "1"]], [["100.1", "2"], ["100.3", "4"]], first, 10, -1),
        book("update", [["99.9", "3"]], [["100.1", "0"]], second, 12, 10),
        book("update", [], [], second, 12, 12),
        (wss, _json({"arg": {"channel": "trades", "instId": name}, "data": [trade]})),
        book("update", [["99.8", "3"]], [], second, 15, 14),
        book("snapshot", [["100.0", "1"]], [["100.1", "2"], ["100.3", "4"]], first, 16, -1),
        book("update", [["99.9", "2"]], [["100.1", "0"]], second, 17, 16),
        (wss, b"pong"),
    ]


def _bitstamp() -> list[Frame]:
    wss, rest, pair = "wss://bitstamp", "https://www.bitstamp.net/api/v2/order_book/btcusd/", "btcusd"

    def diff(at: int, b: list[list[str]], a: list[list[str]]) -> Frame:
        data = {"timestamp": str(at // 1_000_000), "microtimestamp": str(at), "bids": b, "asks": a}
        return wss, _json({"data": data, "channel": f"diff_order_book_{pair}", "event": "data"})

    book = {"timestamp": "1", "bids": [["100.00", "1.0"], ["99.00", "0.0"]], "asks": [["100.10", "2.0"]]}
    trade = {"id": 5, "amount": 0.5, "amount_str": "0.50", "price": 100.1, "price_str": "100.10", "type": 0}
    told = {"data": trade | {"microtimestamp": str(US + 40)}, "channel": f"live_trades_{pair}", "event": "trade"}
    return [
        (wss, b""),
        (wss, _json({"event": "bts:subscription_succeeded", "channel": f"diff_order_book_{pair}", "data": {}})),
        diff(US + 10, [["100.00", "9.0"]], []),
        diff(US + 30, [["99.90", "3.0"]], []),
        (rest, _json(book | {"microtimestamp": str(US + 20)})),
        diff(US + 35, [], [["100.10", "0.0"], ["100.20", "1.0"]]),
        diff(US + 35, [], [["100.10", "0.0"]]),
        (wss, _json(told)),
        (rest, _json(book | {"microtimestamp": str(US + 25)})),
        (wss, b""),
        diff(US + 60, [["99.80", "3.0"]], []),
        (rest, _json(book | {"microtimestamp": str(US + 55)})),
    ]


def _bitstamp_l3() -> list[Frame]:
    wss, rest, pair = "wss://bitstamp", "https://www.bitstamp.net/api/v2/order_book/btcusd/?group=2", "btcusd"

    def order(event: str, number: int, kind: int, price: str, amount: str, at: int) -> Frame:
        data = {
            "id": number,
            "order_type": kind,
            "price": float(price),
            "amount": float(amount),
            "datetime": str(MS // 1000),
        }
        texts = {"price_str": price, "amount_str": amount, "microtimestamp": str(US + at)}
        return wss, _json({"data": data | texts, "channel": f"live_orders_{pair}", "event": f"order_{event}"})

    whole = {"microtimestamp": str(US + 45), "bids": [["100.00", "1.0", "1"]], "asks": [["100.10", "2.0", "2"]]}
    trade = {"data": {"id": 1, "amount": 1, "price": 100.1}, "channel": f"live_trades_{pair}", "event": "trade"}
    return [
        (wss, b""),
        (wss, _json({"event": "bts:subscription_succeeded", "channel": f"live_orders_{pair}", "data": {}})),
        order("created", 1, 0, "100.00", "1.0", 10),
        order("created", 2, 1, "100.10", "2.0", 20),
        order("deleted", 99, 1, "100.10", "2.0", 30),
        order("created", 3, 0, "100.10", "0.5", 50),
        order("changed", 2, 1, "100.10", "1.5", 51),
        order("deleted", 3, 0, "100.10", "0.0", 52),
        (wss, _json(trade)),
        (rest, _json(whole)),
        order("created", 4, 0, "100.20", "2.0", 60),
        order("changed", 4, 0, "100.20", "0.5", 61),
        order("deleted", 2, 1, "100.10", "0.0", 62),
        order("deleted", 1, 0, "100.00", "1.0", 63),
        (wss, b""),
        order("created", 5, 1, "100.30", "2.0", 70),
    ]


def _bitmex() -> list[Frame]:
    wss, symbol = "wss://bitmex", "XBTUSD"

    def book(action: str, *levels: dict[str, object]) -> Frame:
        rows = [{"symbol": symbol} | level for level in levels]
        return wss, _json({"table": "orderBookL2", "action": action, "filter": {"symbol": symbol}, "data": rows})

    trade = {"timestamp": ISO, "symbol": symbol, "side": "Buy", "size": 10, "price": 100.5, "trdMatchID": "x"}
    return [
        (wss, b""),
        (wss, _json({"info": "Welcome", "version": "1"})),
        book("insert", {"id": 1, "side": "Buy", "size": 1, "price": 100}),
        book(
            "partial",
            {"id": 11, "side": "Sell", "size": 30, "price": 100.5},
            {"id": 12, "side": "Buy", "size": 20, "price": 100},
        ),
        book("update", {"id": 11, "side": "Sell", "size": 25}),
        book("insert", {"id": 13, "side": "Buy", "size": 5, "price": 99.5}),
        (wss, _json({"table": "trade", "action": "partial", "data": [trade]})),
        (wss, _json({"table": "trade", "action": "insert", "data": [trade]})),
        book("delete", {"id": 11, "side": "Sell"}),
        book("update", {"id": 12, "side": "Sell", "size": 7}),
        (wss, b""),
        book("update", {"id": 12, "side": "Buy", "size": 7}),
    ]


def _deribit() -> list[Frame]:
    wss, name = "wss://deribit", "BTC-PERPETUAL"

    def call(channel: str, data: object) -> Frame:
        return wss, _json({"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": data}})

    def book(kind: str, now: int, before: int | None, b: list[list[object]], a: list[list[object]]) -> Frame:
        data: dict[str, object] = {"type": kind, "timestamp": MS, "instrument_name": name, "change_id": now}
        if before is not None:
            data["prev_change_id"] = before
        return call(f"book.{name}.100ms", data | {"bids": b, "asks": a})

    trade = {
        "trade_seq": 3,
        "timestamp": MS,
        "price": 100.5,
        "instrument_name": name,
        "direction": "sell",
        "amount": 10.0,
    }
    return [
        (wss, b""),
        (wss, _json({"jsonrpc": "2.0", "id": 1, "result": []})),
        book("change", 9, 8, [], []),
        book("snapshot", 10, None, [["new", 100.0, 10.0]], [["new", 100.5, 20.0]]),
        book("change", 15, 10, [["change", 100.0, 12.0]], [["delete", 100.5, 0.0], ["new", 101.0, 5.0]]),
        call(f"trades.{name}.100ms", [trade, trade | {"trade_seq": 4}]),
        call(f"ticker.{name}.100ms", {"timestamp": MS + 5}),
        book("change", 15, 10, [["delete", 100.0, 0.0]], []),
        book("change", 30, 20, [["new", 99.0, 1.0]], []),
        book("snapshot", 40, None, [["new", 100.0, 10.0]], []),
        book("change", 41, 40, [["new", 99.5, 10.0]], []),
    ]


def _gemini() -> list[Frame]:
    wss, symbol = "wss://gemini", "BTCUSD"

    def levels(changes: list[list[str]], **more: object) -> Frame:
        return wss, _json({"type": "l2_updates", "symbol": symbol, "changes": changes} | more)

    trade = {"type": "trade", "symbol": symbol, "event_id": 9, "timestamp": MS, "price": "100.1", "quantity": "0.5"}
    start = [["buy", "100.00", "1"], ["sell", "100.10", "2"]]
    return [
        (wss, b""),
        levels([["buy", "1.00", "1"]]),
        levels(start, trades=[trade | {"side": "buy"}], auction_events=[]),
        (wss, _json({"type": "heartbeat", "timestamp": MS + 1})),
        levels([["buy", "100.00", "0"], ["buy", "99.90", "3"], ["sell", "100.10", "1.5"]]),
        (wss, _json(trade | {"side": "buy"})),
        (wss, _json(trade | {"side": "buy"})),
        (wss, b""),
        levels([["buy", "99.90", "4"]]),
        levels(start, trades=[]),
    ]


def _hyperliquid() -> list[Frame]:
    wss, coin = "wss://hyperliquid", "BTC"

    def book(time: int, bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> Frame:
        sides = [[{"px": px, "sz": sz, "n": 1} for px, sz in side] for side in (bids, asks)]
        return wss, _json({"channel": "l2Book", "data": {"coin": coin, "levels": sides, "time": time}})

    trade = {"coin": coin, "side": "B", "px": "100.1", "sz": "0.5", "time": MS, "tid": 4, "hash": "0x"}
    return [
        (wss, b""),
        (wss, _json({"channel": "subscriptionResponse", "data": {}})),
        book(MS, [("100.0", "1.0"), ("99.9", "2.0")], [("100.1", "3.0"), ("100.2", "1.0")]),
        book(MS, [("100.0", "1.0"), ("99.9", "2.0")], [("100.1", "3.0"), ("100.2", "1.0")]),
        book(MS + 500, [("100.0", "1.5"), ("99.8", "2.0")], [("100.2", "1.0"), ("100.4", "1.0")]),
        book(MS + 900, [("100.0", "1.5"), ("99.8", "2.0")], [("100.2", "1.0"), ("100.4", "1.0")]),
        (wss, _json({"channel": "trades", "data": [trade]})),
        (wss, b""),
        book(MS + 1500, [("100.0", "1.5")], [("100.2", "1.0")]),
    ]


SESSIONS: Mapping[str, tuple[str, float, float, list[Frame]]] = {
    "binance_spot": ("BTCUSDT", 0.01, 0.001, _binance(False, "https://spot/depth", "BTCUSDT")),
    "binance_usdm": ("BTCUSDT", 0.01, 0.001, _binance(True, "https://usdm/depth", "BTCUSDT")),
    "binance_coinm": ("BTCUSD_PERP", 0.01, 0.001, _binance(True, "https://coinm/depth", "BTCUSD_PERP")),
    "coinbase": ("BTC-USD", 0.01, 0.01, _coinbase()),
    "kraken": ("XBT/USD", 0.01, 0.01, _kraken()),
    "kraken_futures": ("PI_XBTUSD", 0.5, 1.0, _kraken_futures()),
    "bybit": ("BTCUSDT", 0.01, 0.001, _bybit()),
    "okx": ("BTC-USDT", 0.1, 0.1, _okx()),
    "bitstamp": ("btcusd", 0.01, 0.1, _bitstamp()),
    "bitstamp_l3": ("btcusd", 0.01, 0.1, _bitstamp_l3()),
    "bitmex": ("XBTUSD", 0.5, 1.0, _bitmex()),
    "deribit": ("BTC-PERPETUAL", 0.5, 1.0, _deribit()),
    "gemini": ("BTCUSD", 0.01, 0.1, _gemini()),
    "hyperliquid": ("BTC", 0.1, 0.1, _hyperliquid()),
}


def instruments_of(venue: str) -> dict[str, Instrument]:
    """The venue's one instrument, on its grid."""
    symbol, price, lot, _ = SESSIONS[venue]
    return {symbol: inferred_instrument(symbol, 3, venue, price, lot)}


def frames_of(venue: str) -> list[Frame]:
    """The venue's session."""
    return SESSIONS[venue][3]


def batch(frames: list[Frame]) -> FrameBatch:
    """Frames as a batch, a millisecond apart."""
    return batch_of((START_NS + k * 1_000_000, stream, body) for k, (stream, body) in enumerate(frames))


def test_every_venue_has_a_session() -> None:
    assert set(SESSIONS) == set(VENUES)
