"""What ``flowsense new venue`` writes: the codec that ``docs/venues.md`` walks through, a session for it, and its rows."""

from typing import Final

MODULE: Final = '''"""{title} exchange: ``book`` and ``fill``. Put in the frames that your venue sends (``docs/venues.md``).

Sequence rule: ``n`` is one more than the one before; ``full`` begins anew.
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from marketdata.clock import NS_PER_MS
from marketdata.codecs.reports import SNAPSHOT, UPDATE, BookReport, Report, TradeReport
from marketdata.codecs.venue_books import BookRule
from marketdata.codecs.wire import BadFrame, Number, PriceSize, Stamp, decode
from marketdata.events import ASK, BID
from marketdata.frames import Endpoint


class _Head(msgspec.Struct):
    ch: str


class _Book(msgspec.Struct):
    sym: str
    n: Number
    full: bool
    b: list[PriceSize]
    a: list[PriceSize]
    t: Stamp


class _Fill(msgspec.Struct):
    sym: str
    id: Number
    px: str
    sz: str
    taker: Literal["buy", "sell"]
    t: Stamp


_HEAD: Final = msgspec.json.Decoder(_Head)
_BOOK: Final = msgspec.json.Decoder(_Book)
_FILL: Final = msgspec.json.Decoder(_Fill)


class {title}:
    """The dialect; see the module."""

    venue = "{name}"
    rule = BookRule(trade_numbers_rise=True)

    def read(self, frame: bytes, stream: str) -> Sequence[Report]:
        """See :class:`~marketdata.codecs.dialect.Dialect`."""
        kind = decode(_HEAD, frame).ch
        if kind == "book":
            book = decode(_BOOK, frame)
            what, follows = (SNAPSHOT, None) if book.full else (UPDATE, book.n - 1)
            return (BookReport(book.sym, what, book.b, book.a, book.t * NS_PER_MS, book.n, follows),)
        if kind == "fill":
            fill = decode(_FILL, frame)
            side = ASK if fill.taker == "buy" else BID  # the resting one
            return (TradeReport(fill.sym, fill.px, fill.sz, side, fill.t * NS_PER_MS, fill.id),)
        raise BadFrame(f"unknown kind of frame {{kind!r}}")

    def endpoints(self, symbols: Sequence[str]) -> tuple[Endpoint, ...]:
        """Return one connection."""
        return (Endpoint("wss://example.test", tuple(f'{{{{"subscribe":"{{symbol}}"}}}}' for symbol in symbols)),)

    def snapshot_url(self, symbol: str) -> None:
        """Return None: the stream brings snapshots."""
        return
'''

FRAMES: Final = '''"""A small made-up session of {name}, in its own form; ``test_venue_laws.py`` tests every law on it."""

import json

WSS = "wss://{name}"
SYMBOL = "BTC-USD"
MS = 1_700_000_000_000


def book(n: int, full: bool, bids: list[list[str]], asks: list[list[str]]) -> tuple[str, bytes]:
    """A numbered book frame: the whole book, or changes of levels."""
    return WSS, json.dumps(
        {{"ch": "book", "sym": SYMBOL, "n": n, "full": full, "b": bids, "a": asks, "t": MS + n}}
    ).encode()


def fill(number: int, taker: str) -> tuple[str, bytes]:
    """A trade frame."""
    return WSS, json.dumps(
        {{"ch": "fill", "sym": SYMBOL, "id": number, "px": "100.5", "sz": "1", "taker": taker, "t": MS + number}}
    ).encode()


FRAMES: list[tuple[str, bytes]] = [
    (WSS, b""),
    book(6, True, [["100.0", "5"], ["99.5", "3"]], [["100.5", "1"], ["101.0", "4"]]),
    book(7, False, [["99.0", "2"]], [["100.5", "2"]]),
    fill(3, "buy"),
    fill(4, "sell"),
    book(9, False, [], []),
    book(10, True, [["100.0", "5"]], [["101.0", "4"]]),
    book(11, False, [["100.5", "1"]], [["101.0", "0"], ["101.5", "2"]]),
]
SESSION = (SYMBOL, 0.5, 1.0, FRAMES)
"""The symbol, its price step, its lot, and its frames."""
'''

TEST: Final = '''"""What each frame of {name} means, row by row, and that a hole in its numbers is found."""

from marketdata.codecs.catalog import build_codec
from marketdata.events import ASK, BID, CLEAR, LEVEL, TRADE
from marketdata.frames import RAISE
from tests.codecs.venue_frames import batch, frames_of, instruments_of


def test_the_session_gives_these_rows() -> None:
    codec = build_codec("{name}", instruments_of("{name}"), RAISE)
    _, decoded = codec.step(codec.init(), batch(frames_of("{name}")))
    assert [(int(e["action"]), int(e["side"]), int(e["price_units"]), int(e["size_lots"])) for e in decoded.events] == [
        (CLEAR, 0, 0, 0),
        (LEVEL, BID, 200, 5),
        (LEVEL, BID, 199, 3),
        (LEVEL, ASK, 201, 1),
        (LEVEL, ASK, 202, 4),
        (LEVEL, BID, 198, 2),
        (LEVEL, ASK, 201, 2),
        (TRADE, ASK, 201, 1),
        (TRADE, BID, 201, 1),
        (CLEAR, 0, 0, 0),
        (CLEAR, 0, 0, 0),
        (LEVEL, BID, 200, 5),
        (LEVEL, ASK, 202, 4),
        (LEVEL, BID, 201, 1),
        (LEVEL, ASK, 202, 0),
        (LEVEL, ASK, 203, 2),
    ]
    assert [(gap.expected, gap.found) for gap in decoded.gaps] == [(7, 8)], "7 came last, 9 follows 8"
'''

CHANNELS_ROW: Final = "| `{name}` | `book`, `fill` | `n` = last + 1 | – | in the stream |\n"
"""Row of the page's first table."""
CHECKED_ROW: Final = "| `{name}` | none yet | – | – | by made-up frames only |\n"
"""Row of its second one."""
