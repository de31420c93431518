"""What a venue's frame says, in words common to all venues: the output of a dialect, before any grid or sequence rule.

Numbers are still text, as the venue wrote them. A dialect's ``read`` is a pure function from one frame to a tuple of these.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from marketdata.clock import NS_PER_S
from marketdata.codecs.wire import BadFrame, PriceSize

UPDATE: Final = 0
SNAPSHOT: Final = 1
WHOLE: Final = 2
"""Kinds of book report: sizes at some prices; the book from nothing; all that is visible now, to be compared with before."""

_ISO: Final = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(?:Z|\+00:00)", re.ASCII)
_SECONDS: Final = re.compile(r"(\d{1,10})(?:\.(\d{1,9}))?", re.ASCII)


class BookReport(NamedTuple):
    """Levels of one symbol, from one message.

    Attributes
    ----------
    symbol : str
    kind : int
        :data:`UPDATE`, :data:`SNAPSHOT` or :data:`WHOLE`.
    bids, asks : sequence of (price, size)
        The whole size at each price; 0 removes the level.
    ts_event : int
        Exchange time, ns; 0 where the message has none.
    sequence : int or None
        The venue's number of this message.
    follows : int or None
        Number of the message that must have come before; None where messages do not chain.
    checksum : int or None
        Of the book after this message.
    """

    symbol: str
    kind: int
    bids: Sequence[PriceSize]
    asks: Sequence[PriceSize]
    ts_event: int = 0
    sequence: int | None = None
    follows: int | None = None
    checksum: int | None = None


class KeyedReport(NamedTuple):
    """Levels named by an id instead of a price (BitMEX): (id, side, price or None, size or None for removal)."""

    symbol: str
    kind: int
    levels: Sequence[tuple[int, int, str | None, str | None]]
    ts_event: int = 0


class TradeReport(NamedTuple):
    """One trade; ``side`` is the resting one's, ``sequence`` the venue's trade number where it has rising ones."""

    symbol: str
    price: str
    size: str
    side: int
    ts_event: int = 0
    sequence: int | None = None


class Notice(NamedTuple):
    """A frame that rightly carries no event: what it is, and its exchange time where it has one."""

    kind: str
    ts_event: int = 0


Report = BookReport | KeyedReport | TradeReport | Notice


def number_text(raw: msgspec.Raw | str) -> str:
    """Return a number's own spelling, whether the venue sent it as a JSON number or a string."""
    text = raw if isinstance(raw, str) else bytes(raw).decode("ascii", "replace")
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def number_pair(price: msgspec.Raw | str, size: msgspec.Raw | str) -> PriceSize:
    """Return price and size as the venue spelt them."""
    return number_text(price), number_text(size)


def whole_number(raw: msgspec.Raw | str | int) -> int:
    """Return a counter that a venue sends now as a number, now as a string.

    Raises
    ------
    BadFrame
        If it is no whole number that fits into an int64.
    """
    text = str(raw) if isinstance(raw, int) else number_text(raw)
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise BadFrame(f"{text[:40]!r} is not a whole number")
    return int(text)


def seconds_ns(text: str) -> int:
    """Return a time given as decimal seconds, in ns.

    Raises
    ------
    BadFrame
        If it is no such time, or is finer than a nanosecond.
    """
    found = _SECONDS.fullmatch(text)
    return int(found[1]) * NS_PER_S + int((found[2] or "0").ljust(9, "0")) if found else _no_time(text)


def iso_ns(text: str) -> int:
    """Return a UTC time in ISO 8601, in ns; 0 for an empty text.

    Raises
    ------
    BadFrame
        If it is no such time.
    """
    if not text:
        return 0
    found = _ISO.fullmatch(text)
    if found is None:
        return _no_time(text)
    try:
        moment = datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
    except ValueError:
        return _no_time(text)
    return int(moment.timestamp()) * NS_PER_S + int((found[2] or "0").ljust(9, "0"))


def _no_time(text: str) -> int:
    raise BadFrame(f"{text[:40]!r} is not a time")
