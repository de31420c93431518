"""A small seeded tape with every action in it, for tests of folds: prices random, the book never crossed."""

from datetime import date

import numpy as np

from marketdata.clock import NS_PER_MS, NS_PER_S, Session
from marketdata.events import (
    ADD,
    ASK,
    BID,
    CLEAR,
    DELETE,
    EVENT_DTYPE,
    EXECUTE,
    F_LAST,
    F_SNAPSHOT,
    HIDDEN,
    LEVEL,
    NONE,
    REDUCE,
    STATUS,
    TRADE,
    EventArray,
)
from marketdata.instruments import BookKind, Fees, Instrument
from marketdata.settings import Settings, validate_settings

OPEN_NS = 1_700_000_000 * NS_PER_S
SESSION = Session(date(2023, 11, 14), OPEN_NS, OPEN_NS + 3_600 * NS_PER_S)


def instrument(k: int = 0, kind: BookKind = BookKind.MATCHING) -> Instrument:
    return Instrument(
        symbol=f"I{k}",
        instrument_id=k,
        venue="T",
        unit_nanos=1_000,
        tick_units=5,
        price_decimals=0.01,
        book_kind=kind,
        fees=Fees(taker_ppm=30),
    )


def settings(count: int = 3, **sections: object) -> Settings:
    values: dict[str, object] = {
        "source": "simulated",
        "calendar": "24/7",
        "time_zone": "UTC",
        "start_date": SESSION.date,
        "sessions": 2,
        "instruments": [instrument(k).model_dump() for k in range(count)],
    }
    return validate_settings(values | sections, "test")


def random_tape(
    seed: int, groups: int, *, instrument_id: int = 0, gap_ms: float = 60.0, specials: bool = True
) -> EventArray:
    """Return a tape of ``groups`` event groups: adds, cancels, multi-row executions, hidden and unsigned prints."""
    rng = np.random.default_rng(seed)
    books: list[dict[int, int]] = [{}, {}]
    rows: list[tuple[int, ...]] = []
    now, mid = OPEN_NS, 10_000
    sequence = 0

    def emit(action: int, side: int, price: int, lots: int, flags: int = 0) -> None:
        rows.append((now - NS_PER_MS, now, price, lots, 0, sequence, instrument_id, action, side, flags, 0))

    def snapshot() -> None:
        emit(CLEAR, NONE, 0, 0, F_SNAPSHOT)
        for side in (0, 1):
            books[side] = {}
            for level in range(1, 7):
                price, lots = mid + (5 * level if side else -5 * level), int(rng.integers(1, 30))
                books[side][price] = lots
                emit(LEVEL, ASK if side else BID, price, lots, F_SNAPSHOT)

    snapshot()
    for _ in range(groups):
        rows[-1] = (*rows[-1][:9], rows[-1][9] | F_LAST, rows[-1][10])
        sequence += 1
        now += int(rng.exponential(gap_ms) * NS_PER_MS) * int(rng.random() > 0.1)
        side = int(rng.integers(2))
        sign = ASK if side else BID
        book, other = books[side], books[1 - side]
        best = (min if side else max)(book) if book else mid
        draw = rng.random()
        if draw < 0.55 or len(book) < 2:
            far = max(other) if side else min(other)
            away = 5 if side else -5
            steps = -int(rng.integers(1, 3)) if abs(far - best) > 12 and rng.random() < 0.7 else int(rng.integers(0, 6))
            price = best + steps * away
            lots = int(rng.integers(1, 20))
            book[price] = book.get(price, 0) + lots
            emit(ADD, sign, price, lots)
        elif draw < 0.85:
            price = int(rng.choice(sorted(book)))
            lots = book[price] if rng.random() < 0.6 else int(rng.integers(1, book[price] + 1))
            emit(DELETE if lots == book[price] else REDUCE, sign, price, lots)
            book[price] -= lots
            if not book[price]:
                del book[price]
        elif draw < 0.97:
            left = int(rng.integers(1, 40))
            while left > 0 and len(book) > 1:
                price = (min if side else max)(book)
                lots = min(left, book[price])
                emit(EXECUTE, sign, price, lots)
                left -= lots
                book[price] -= lots
                if not book[price]:
                    del book[price]
        elif draw < 0.985 or not specials:
            emit(HIDDEN, sign, best, int(rng.integers(1, 9)))
        elif draw < 0.996:
            emit(TRADE, NONE, best + int(rng.integers(0, 3)), int(rng.integers(1, 9)))
        elif draw < 0.9998:
            emit(STATUS, NONE, 0, int(rng.random() < 0.7))
        else:
            now += 5 * NS_PER_S
            snapshot()
        mid = (max(books[0], default=mid) + min(books[1], default=mid)) // 10 * 5
    rows[-1] = (*rows[-1][:9], rows[-1][9] | F_LAST, rows[-1][10])
    return np.array(rows, dtype=EVENT_DTYPE)
