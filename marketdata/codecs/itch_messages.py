"""NASDAQ TotalView-ITCH 5.0: every message type, its length and its fields, and one message as a mapping.

All numbers are big-endian. A message begins with its type (1), stock locate (2), tracking number (2) and timestamp (6, ns after
midnight in New York). ``price4`` has four decimals, ``price8`` eight.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt


class Field(NamedTuple):
    """A field after the common header: name, kind (``alpha``, ``int``, ``price4``, ``price8``) and length in bytes."""

    name: str
    kind: str
    length: int


class Layout(NamedTuple):
    """A message type."""

    name: str
    fields: tuple[Field, ...]

    @property
    def length(self) -> int:
        """Bytes of the whole message."""
        return HEADER + sum(field.length for field in self.fields)


HEADER: Final = 11
_STOCK: Final = Field("stock", "alpha", 8)
_ORDER: Final = Field("order", "int", 8)
_SHARES: Final = Field("shares", "int", 4)
_PRICE: Final = Field("price", "price4", 4)
_MATCH: Final = Field("match", "int", 8)
_SIDE: Final = Field("side", "alpha", 1)


def _alpha(*names: str) -> tuple[Field, ...]:
    return tuple(Field(name, "alpha", 1) for name in names)


LAYOUTS: Final[dict[str, Layout]] = {
    "S": Layout("system event", _alpha("event")),
    "R": Layout(
        "stock directory",
        (
            _STOCK,
            *_alpha("market_category", "financial_status"),
            Field("round_lot", "int", 4),
            *_alpha("round_lots_only", "issue_classification"),
            Field("issue_subtype", "alpha", 2),
            *_alpha("authenticity", "short_sale_threshold", "ipo_flag", "luld_tier", "etp_flag"),
            Field("etp_leverage", "int", 4),
            *_alpha("inverse"),
        ),
    ),
    "H": Layout("trading action", (_STOCK, *_alpha("state", "reserved"), Field("reason", "alpha", 4))),
    "Y": Layout("Reg SHO restriction", (_STOCK, *_alpha("action"))),
    "L": Layout(
        "market participant position",
        (Field("participant", "alpha", 4), _STOCK, *_alpha("primary", "mode", "state")),
    ),
    "V": Layout("MWCB decline level", tuple(Field(f"level_{k}", "price8", 8) for k in (1, 2, 3))),
    "W": Layout("MWCB status", _alpha("level")),
    "K": Layout("IPO quoting period", (_STOCK, Field("release_s", "int", 4), *_alpha("qualifier"), _PRICE)),
    "J": Layout(
        "LULD auction collar",
        (
            _STOCK,
            Field("reference", "price4", 4),
            Field("upper", "price4", 4),
            Field("lower", "price4", 4),
            Field("extension", "int", 4),
        ),
    ),
    "h": Layout("operational halt", (_STOCK, *_alpha("market", "action"))),
    "A": Layout("add order", (_ORDER, _SIDE, _SHARES, _STOCK, _PRICE)),
    "F": Layout("add order with MPID", (_ORDER, _SIDE, _SHARES, _STOCK, _PRICE, Field("participant", "alpha", 4))),
    "E": Layout("order executed", (_ORDER, _SHARES, _MATCH)),
    "C": Layout("order executed with price", (_ORDER, _SHARES, _MATCH, *_alpha("printable"), _PRICE)),
    "X": Layout("order cancel", (_ORDER, _SHARES)),
    "D": Layout("order delete", (_ORDER,)),
    "U": Layout("order replace", (_ORDER, Field("new_order", "int", 8), _SHARES, _PRICE)),
    "P": Layout("trade (hidden)", (_ORDER, _SIDE, _SHARES, _STOCK, _PRICE, _MATCH)),
    "Q": Layout("cross trade", (Field("shares", "int", 8), _STOCK, _PRICE, _MATCH, *_alpha("cross"))),
    "B": Layout("broken trade", (_MATCH,)),
    "I": Layout(
        "net order imbalance",
        (
            Field("paired", "int", 8),
            Field("imbalance", "int", 8),
            *_alpha("direction"),
            _STOCK,
            Field("far", "price4", 4),
            Field("near", "price4", 4),
            Field("reference", "price4", 4),
            *_alpha("cross", "variation"),
        ),
    ),
    "N": Layout("retail price improvement", (_STOCK, *_alpha("interest"))),
    "O": Layout(
        "direct listing with capital raise",
        (
            _STOCK,
            *_alpha("eligible"),
            Field("lowest", "price4", 4),
            Field("highest", "price4", 4),
            Field("near", "price4", 4),
            Field("near_time", "int", 8),
            Field("lower", "price4", 4),
            Field("upper", "price4", 4),
        ),
    ),
}
"""Message type to layout, from the specification of ITCH 5.0."""


def _tables() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    length, stock = np.zeros(256, np.int64), np.zeros(256, np.int64)
    for kind, layout in LAYOUTS.items():
        length[ord(kind)] = layout.length
        at = HEADER
        for field in layout.fields:
            if field.name == "stock":
                stock[ord(kind)] = at
            at += field.length
    return length, stock


LENGTH, STOCK_AT = _tables()
"""By type: bytes of a message (0: no such type), and the byte at which the stock's name begins (0: it has none)."""


def read_message(message: bytes) -> dict[str, str | int | float]:
    """Return one message as a mapping: ``type``, ``locate``, ``tracking``, ``ts_ns`` and the fields of its layout.

    Texts are stripped of padding; prices are in dollars. For people and for tests; codecs do not come by here.

    Raises
    ------
    ValueError
        If the type is unknown or the length is not that of the type.
    """
    kind = message[:1].decode("latin-1")
    layout = LAYOUTS.get(kind)
    if layout is None:
        raise ValueError(f"byte 0: {kind!r} is no message type of ITCH 5.0")
    if len(message) != layout.length:
        raise ValueError(f"byte 0: a message of type {kind} has {layout.length} bytes, not {len(message)}")
    found: dict[str, str | int | float] = {
        "type": kind,
        "locate": int.from_bytes(message[1:3]),
        "tracking": int.from_bytes(message[3:5]),
        "ts_ns": int.from_bytes(message[5:11]),
    }
    at = HEADER
    for name, how, length in layout.fields:
        raw = message[at : at + length]
        at += length
        if how == "alpha":
            found[name] = raw.decode("latin-1").rstrip()
        elif how == "int":
            found[name] = int.from_bytes(raw)
        else:
            found[name] = int.from_bytes(raw) / 10 ** int(how[-1])
    return found
