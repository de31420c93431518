"""How numbers, times and hashes are written on the page: one form each, an absent value is a dash."""

import math
from datetime import date
from html import escape
from zoneinfo import ZoneInfo

from marketdata.clock import from_ns

ABSENT = '<span class="absent" title="not known or not measured">–</span>'
"""How a value that is not there is shown."""


def is_known(value: float | None) -> bool:
    """Return whether the value is there and finite."""
    return value is not None and math.isfinite(value)


def _signed(text: str) -> str:
    return text.replace("-", "−")


def integer(value: int | None) -> str:
    """Return a whole number with thousands separators."""
    return ABSENT if value is None else _signed(f"{value:,}")


def decimal(value: float | None, digits: int = 3, *, plus: bool = False) -> str:
    """Return a number with fixed digits; ``plus`` writes the sign of positive ones."""
    if value is None or not math.isfinite(value):
        return ABSENT
    rounded = round(value, digits) + 0.0
    return _signed(f"{rounded:+,.{digits}f}" if plus and rounded else f"{rounded:,.{digits}f}")


def compact(value: float | None) -> str:
    """Return a number of any size in at most about six characters, for statistics of features."""
    if value is None or not math.isfinite(value):
        return ABSENT
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 1e6 or size < 1e-3:
        mantissa, exponent = f"{value:.1e}".split("e")
        return _signed(f"{mantissa}e{int(exponent)}")
    digits = max(0, 3 - math.floor(math.log10(size)) - 1)
    return _signed(f"{value:,.{min(digits, 4)}f}")


def money(value: float | None, *, plus: bool = True) -> str:
    """Return an amount; cents below 1,000, whole units above."""
    if value is None or not math.isfinite(value):
        return ABSENT
    return decimal(value, 2 if abs(value) < 1_000 else 0, plus=plus)


def axis(value: float) -> str:
    """Return a round number as an axis says it: no more digits than it has."""
    return _signed(f"{value + 0.0:,.6g}" if abs(value) < 10_000 else f"{value:,.0f}")


def tone(value: float | None) -> str:
    """Return the CSS class of a gain, a loss, or neither."""
    if value is None or not math.isfinite(value) or value == 0:
        return ""
    return "gain" if value > 0 else "loss"


def coloured_money(value: float | None) -> str:
    """Return an amount in the colour of its sign."""
    return f'<span class="{tone(value)}">{money(value)}</span>'


def share(value: float | None, digits: int = 1) -> str:
    """Return a share of one in per cent."""
    if value is None or not math.isfinite(value):
        return ABSENT
    return _signed(f"{round(100 * value, digits) + 0.0:.{digits}f} %")


def probability(value: float | None) -> str:
    """Return a p-value or probability; tiny ones as a bound."""
    if value is None or not math.isfinite(value):
        return ABSENT
    return "&lt; 0.001" if value < 0.001 else f"{value:.3f}"


def seconds(value: float | None) -> str:
    """Return a wall time."""
    if value is None or not math.isfinite(value):
        return ABSENT
    if value >= 60:
        return f"{int(value // 60)} min {value % 60:02.0f} s"
    return f"{value:.1f} s"


def span(ns: int | None) -> str:
    """Return a length of time in its natural unit."""
    if ns is None:
        return ABSENT
    for size, unit in ((3_600_000_000_000, "h"), (60_000_000_000, "min"), (1_000_000_000, "s"), (1_000_000, "ms")):
        if ns >= size:
            return f"{ns / size:g} {unit}"
    return f"{ns:,} ns"


def size(value: int | None) -> str:
    """Return a number of bytes in GiB or MiB."""
    if value is None:
        return ABSENT
    return f"{value / 2**30:.2f} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB"


def day(value: date | None, *, year: bool = True) -> str:
    """Return a date as ``7 Mar 2025``."""
    if value is None:
        return ABSENT
    return f"{value.day} {value:%b}" + (f" {value.year}" if year else "")


def moment(ns: int | None, zone: str, *, with_date: bool = True) -> str:
    """Return a time in a zone."""
    if ns is None:
        return ABSENT
    local = from_ns(ns).astimezone(ZoneInfo(zone))
    return f"{local:%H:%M:%S}" if not with_date else f"{local.day} {local:%b %Y %H:%M:%S} {local:%Z}"


def digest(value: str | None, length: int = 12) -> str:
    """Return the start of a hash, the whole of it on hover."""
    if not value:
        return ABSENT
    return f'<code class="hash" title="{escape(value)}">{escape(value[:length])}</code>'
