"""Benchmarks of parsing: Binance's frames to events to book, in batches and one message at a time, on one core.

The frames are generated with a seed in Binance's USD-M form: depth updates of 20 bids and 20 asks within 60 ticks of
the middle, and trades. The clock covers bytes to events to book. Each ends by comparing the book with a plain
dictionary of the levels that were sent.
"""

import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np

from marketdata.book import BookState, empty_book, fold_best
from marketdata.codecs.binance import USDM, BinanceCodec
from marketdata.codecs.binance_json import AggregateJson, DepthJson
from marketdata.codecs.decimals import inferred_instrument
from marketdata.frames import RAISE, FrameBatch, frame_batch

DEPTH_FRAMES: Final = 20_000
TRADE_FRAMES: Final = 200_000
TICKS: Final = 20_000
WARM_UP: Final = 1_000
LEVELS: Final = 20
BATCH: Final = 500
REPEATS: Final = 8
"""Passes over the same frames; of each batch the quickest one counts, so that other processes do not."""
PASSES: Final = 3
"""Passes message by message; the quietest one is reported whole."""
SYMBOL: Final = "BTCUSDT"
MIDDLE: Final = 618_000
"""In tenths of a dollar."""
START_MS: Final = 1_723_161_256_000
SOCKET: Final = USDM.sockets[0][0]
SNAPSHOT_URL: Final = f"{USDM.rest}?symbol={SYMBOL}&limit=1000"

Sides = tuple[dict[int, int], dict[int, int]]


def _codec() -> BinanceCodec:
    return BinanceCodec(USDM, {SYMBOL: inferred_instrument(SYMBOL, 0, USDM.venue, 0.1, 0.001)}, RAISE)


def _price(units: int) -> str:
    return f"{units // 10}.{units % 10}0"


def depth_frames(count: int, seed: int) -> tuple[list[bytes], Sides]:
    """Return wrapped depth updates, and the lots by price of bids and asks that they end in."""
    rng = np.random.default_rng(seed)
    away = np.argsort(rng.random((count, 2, 60)), axis=2)[:, :, :LEVELS] + 1
    lots = rng.integers(0, 5_000, (count, 2, LEVELS)) * (rng.random((count, 2, LEVELS)) > 0.2)
    frames: list[bytes] = []
    sides: Sides = ({}, {})
    for k in range(count):
        texts = []
        for side, sign in ((0, -1), (1, 1)):
            prices = (MIDDLE + sign * away[k, side]).tolist()
            sizes = lots[k, side].tolist()
            sides[side].update(zip(prices, sizes, strict=True))
            texts.append(
                ",".join(f'["{_price(p)}","{n // 1000}.{n % 1000:03d}"]' for p, n in zip(prices, sizes, strict=True))
            )
        now, last = START_MS + 10 * k, 1_000_000 + 100 * (k + 1)
        frames.append(
            (
                f'{{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":{now + 3},"T":{now},"s":"{SYMBOL}",'
                f'"U":{last - 90},"u":{last},"pu":{last - 100},"b":[{texts[0]}],"a":[{texts[1]}]}}}}'
            ).encode()
        )
    return frames, ({p: n for p, n in sides[0].items() if n}, {p: n for p, n in sides[1].items() if n})


def trade_frames(count: int, seed: int) -> tuple[list[bytes], int]:
    """Return wrapped aggregate trades, and the lots that they sum to."""
    rng = np.random.default_rng(seed)
    prices = (MIDDLE + rng.integers(-60, 60, count)).tolist()
    lots = rng.integers(1, 9_000, count).tolist()
    frames = [
        (
            f'{{"stream":"btcusdt@aggTrade","data":{{"e":"aggTrade","E":{START_MS + k},"a":{5_000_000 + k},"s":"{SYMBOL}",'
            f'"p":"{_price(price)}","q":"{n // 1000}.{n % 1000:03d}","f":{7_000_000 + k},"l":{7_000_000 + k},'
            f'"T":{START_MS + k},"m":{"true" if n % 2 else "false"}}}}}'
        ).encode()
        for k, (price, n) in enumerate(zip(prices, lots, strict=True))
    ]
    return frames, sum(lots)


def _snapshot() -> FrameBatch:
    empty = b'{"lastUpdateId":1000000,"E":1723161255990,"T":1723161255990,"bids":[],"asks":[]}'
    return frame_batch([((START_MS - 1) * 1_000_000, empty)], SNAPSHOT_URL)


def _batch(frames: list[bytes]) -> FrameBatch:
    return frame_batch([((START_MS + k) * 1_000_000, frame) for k, frame in enumerate(frames)], SOCKET)


def _parts(frames: list[bytes]) -> list[FrameBatch]:
    batch = _batch(frames)
    return [batch.part(first, min(first + BATCH, len(batch))) for first in range(0, len(batch), BATCH)]


def _check(book: BookState, sides: Sides) -> None:
    for side in (0, 1):
        n = int(book.count[side])
        got = dict(zip(book.price[side, :n].tolist(), book.size[side, :n].tolist(), strict=True))
        if got != sides[side]:
            raise AssertionError(f"side {side} of the book differs from the levels that were sent")


def _peer(shape: type[msgspec.Struct], frames: list[bytes]) -> float:
    """Return frames a second of msgspec's typed decoder alone: no numbers, no events, no book."""
    wrapper = msgspec.defstruct("Wrapper", [("stream", str), ("data", shape)])
    decoder = msgspec.json.Decoder(wrapper)
    best = np.full(-(-len(frames) // BATCH), np.inf)
    for _ in range(REPEATS):
        for k in range(len(best)):
            start = time.perf_counter()
            for frame in frames[k * BATCH : (k + 1) * BATCH]:
                decoder.decode(frame)
            best[k] = min(best[k], time.perf_counter() - start)
    return len(frames) / float(best.sum())


def parse_binance() -> dict[str, Any]:
    """Read depth updates of 20 + 20 levels in batches into a book."""
    frames, sides = depth_frames(DEPTH_FRAMES, seed=1)
    parts, codec = _parts(frames), _codec()
    best = np.full(len(parts), np.inf)
    for _ in range(REPEATS):
        state, decoded = codec.step(codec.init(), _snapshot())
        book = empty_book()
        fold_best(book, decoded.events)
        for k, part in enumerate(parts):
            start = time.perf_counter()
            state, decoded = codec.step(state, part)
            fold_best(book, decoded.events)
            best[k] = min(best[k], time.perf_counter() - start)
        _check(book, sides)
    return {
        "n": len(frames),
        "unit": "frame of 20+20 levels",
        "per_s": len(frames) / float(best.sum()),
        "peer": "msgspec, typed decoding alone",
        "peer_per_s": _peer(DepthJson, frames),
    }


def parse_binance_trades() -> dict[str, Any]:
    """Read trades in batches, and let the book see them."""
    frames, total = trade_frames(TRADE_FRAMES, seed=2)
    parts, codec = _parts(frames), _codec()
    best = np.full(len(parts), np.inf)
    for _ in range(REPEATS):
        state, book, lots = codec.init(), empty_book(), 0
        for k, part in enumerate(parts):
            start = time.perf_counter()
            state, decoded = codec.step(state, part)
            fold_best(book, decoded.events)
            best[k] = min(best[k], time.perf_counter() - start)
            lots += int(decoded.events["size_lots"].sum())
        if lots != total:
            raise AssertionError(f"{lots} lots read of {total} sent")
    return {
        "n": len(frames),
        "unit": "trade frame",
        "per_s": len(frames) / float(best.sum()),
        "peer": "msgspec, typed decoding alone",
        "peer_per_s": _peer(AggregateJson, frames),
    }


def tick_to_book() -> dict[str, Any]:
    """Read depth updates one at a time, as live: bytes in, batch of one, book updated."""
    frames, sides = depth_frames(TICKS, seed=3)
    codec = _codec()
    passes = []
    for _ in range(PASSES):
        state, decoded = codec.step(codec.init(), _snapshot())
        book = empty_book()
        fold_best(book, decoded.events)
        took = np.empty(len(frames), np.int64)
        for k, frame in enumerate(frames):
            start = time.perf_counter_ns()
            state, decoded = codec.step(state, frame_batch([(start, frame)], SOCKET))
            fold_best(book, decoded.events)
            took[k] = time.perf_counter_ns() - start
        _check(book, sides)
        passes.append(took[WARM_UP:] / 1_000)
    quietest = min(passes, key=lambda us: float(np.quantile(us, 0.99)))
    return {
        "n": len(quietest),
        "unit": "message of 20+20 levels",
        "per_s": 1e6 / float(quietest.mean()),
        "p50_us": float(np.quantile(quietest, 0.5)),
        "p99_us": float(np.quantile(quietest, 0.99)),
    }


BENCHMARKS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "parse_binance": parse_binance,
    "parse_binance_trades": parse_binance_trades,
    "tick_to_book": tick_to_book,
}
