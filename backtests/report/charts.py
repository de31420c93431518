"""Inline SVG charts: no script needed to see them, colours from the page's style so that they follow light and dark.

Every function returns one ``<svg>`` as text; words inside are escaped here. Sizes are in pixels of the chart's own view
box, which the page scales to the room there is.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from backtests.report import numbers


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: ``style`` is a CSS class (``series-0`` … or ``baseline``), ``strong`` draws it thicker and on top."""

    name: str
    y: Sequence[float]
    style: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A label at a position of the horizontal axis; ``rule`` draws a vertical line there."""

    at: float
    label: str
    rule: bool = False


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about ``count`` round numbers that span ``[low, high]``."""
    if not math.isfinite(low) or not math.isfinite(high) or high <= low:
        return [low if math.isfinite(low) else 0.0]
    raw = (high - low) / max(count - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * power >= raw * 0.999), 10 * power)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def _svg(width: float, height: float, body: str, css: str = "", label: str = "", extra: str = "") -> str:
    return (
        f'<svg class="chart {css}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}" {extra}>'
        f"{body}</svg>"
    )


def _path(xs: Sequence[float], ys: Sequence[float]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True))


def thin(length: int, limit: int) -> list[int]:
    """Return at most about ``limit`` row numbers, evenly spread, the first and the last among them."""
    if length <= limit:
        return list(range(length))
    return sorted({round(k * (length - 1) / (limit - 1)) for k in range(limit)})


def line_chart(
    lines: Sequence[Line],
    marks: Sequence[Mark],
    hover: Sequence[str],
    *,
    width: int = 560,
    height: int = 250,
    label: str,
    fill: bool = False,
    tick: Callable[[float], str] = numbers.axis,
    points: int = 420,
) -> str:
    """Return curves over a common index, zero line drawn, with a cross-hair where scripts run.

    Parameters
    ----------
    lines : sequence of Line
        All of one length; thinned to ``points`` for drawing.
    marks : sequence of Mark
        Axis labels, ``at`` in index units.
    hover : sequence of str
        What the cross-hair says at each index.
    fill : bool
        Fill between the first line and zero (drawdown).
    """
    length = len(lines[0].y) if lines else 0
    if length == 0:
        return empty_chart(width, height, "nothing to draw")
    left, right, top, bottom = 62, 14, 12, 26
    low = min(0.0, *(min(line.y) for line in lines))
    high = max(0.0, *(max(line.y) for line in lines))
    pad = (high - low) * 0.05 or 1.0
    low, high = (low - pad if low < 0 else low), (high + pad if high > 0 or low == 0 else high)
    plot_w, plot_h = width - left - right, height - top - bottom

    def px(index: float) -> float:
        return left + plot_w * (index / max(length - 1, 1))

    def py(value: float) -> float:
        return top + plot_h * (high - value) / (high - low)

    parts = []
    for value in nice_ticks(low, high, 5):
        css = "zero" if abs(value) < 1e-12 * max(abs(low), abs(high)) else "grid"
        parts.append(
            f'<line class="{css}" x1="{left}" x2="{width - right}" y1="{py(value):.1f}" y2="{py(value):.1f}"/>'
        )
        parts.append(
            f'<text class="tick" x="{left - 8}" y="{py(value) + 4:.1f}" text-anchor="end">{tick(value)}</text>'
        )
    for mark in marks:
        if mark.rule:
            parts.append(
                f'<line class="rule" x1="{px(mark.at):.1f}" x2="{px(mark.at):.1f}" y1="{top}" y2="{top + plot_h}"/>'
            )
        if mark.label:
            parts.append(f'<text class="tick" x="{px(mark.at) + 4:.1f}" y="{height - 8}">{escape(mark.label)}</text>')
    kept = thin(length, points)
    xs = [px(k) for k in kept]
    for line in sorted(lines, key=lambda item: item.strong):
        ys = [py(line.y[k]) for k in kept]
        if fill and line is lines[0]:
            area = f"{_path(xs, ys)}L{xs[-1]:.1f} {py(0):.1f}L{xs[0]:.1f} {py(0):.1f}Z"
            parts.append(f'<path class="area {line.style}" d="{area}"/>')
        css = f"line {line.style}{' strong' if line.strong else ''}"
        parts.append(f'<path class="{css}" d="{_path(xs, ys)}"><title>{escape(line.name)}</title></path>')
    data = {
        "left": left,
        "right": width - right,
        "top": top,
        "bottom": top + plot_h,
        "x": [hover[k] for k in kept],
        "lines": [{"name": li.name, "css": li.style, "y": [round(li.y[k], 4) for k in kept]} for li in lines],
    }
    extra = f"data-hover='{escape(json.dumps(data, separators=(',', ':')), quote=True)}'"
    return _svg(width, height, "".join(parts), "lines", label, extra)


def histogram(values: Sequence[float], *, width: int = 560, height: int = 250, bins: int = 40, label: str) -> str:
    """Return a histogram with losses and gains in their colours; mean marked, outer 1 % in the end bins."""
    finite = sorted(v for v in values if math.isfinite(v))
    if len(finite) < 2:
        return empty_chart(width, height, "fewer than two round trips")
    reach = max(abs(finite[int(0.005 * (len(finite) - 1))]), abs(finite[int(0.995 * (len(finite) - 1))]), 1e-9)
    step = 2 * reach / bins
    counts = [0] * bins
    for value in finite:
        counts[min(bins - 1, max(0, int((value + reach) / step)))] += 1
    left, right, top, bottom = 44, 14, 14, 26
    plot_w, plot_h = width - left - right, height - top - bottom
    most = max(counts)
    parts = []
    for count in nice_ticks(0, most, 4):
        y = top + plot_h * (1 - count / most)
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{count:,.0f}</text>')
    for k, count in enumerate(counts):
        if not count:
            continue
        x, h = left + plot_w * k / bins, plot_h * count / most
        lower = -reach + k * step
        css = "gain" if k >= bins / 2 else "loss"
        where = f"{numbers.money(lower)} to {numbers.money(lower + step)}"
        parts.append(
            f'<rect class="bar {css}" x="{x + 0.5:.1f}" y="{top + plot_h - h:.1f}" width="{plot_w / bins - 1:.1f}" '
            f'height="{h:.1f}"><title>{where}: {count:,}</title></rect>'
        )
    for value in nice_ticks(-reach, reach, 5):
        x = left + plot_w * (value + reach) / (2 * reach)
        text = f'text-anchor="middle">{numbers.axis(value)}</text>'
        parts.append(f'<text class="tick" x="{x:.1f}" y="{height - 8}" {text}')
    mean = sum(finite) / len(finite)
    x = left + plot_w * (min(max(mean, -reach), reach) + reach) / (2 * reach)
    side, anchor = (6, "start") if x < width * 0.7 else (-6, "end")
    parts.append(f'<line class="mean" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + plot_h}"/>')
    parts.append(
        f'<text class="note" x="{x + side:.1f}" y="{top + 11}" text-anchor="{anchor}">mean {numbers.money(mean)}</text>'
    )
    return _svg(width, height, "".join(parts), "histogram", label)


def heatmap(
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Sequence[Sequence[float | None]],
    *,
    width: int = 560,
    label: str,
) -> str:
    """Return a grid of amounts, colour by sign and size (the largest amount is the strongest colour)."""
    if not rows or not columns:
        return empty_chart(width, 200, "nothing to draw")
    left, top, right, cell_h = 62, 24, 8, 34
    cell_w = (width - left - right) / len(columns)
    known = [abs(v) for row in cells for v in row if v is not None and math.isfinite(v)]
    most = max(known, default=0.0) or 1.0
    parts = []
    every = max(1, math.ceil(34 / cell_w))
    for c, name in enumerate(columns):
        if c % every == 0:
            x = left + cell_w * (c + 0.5)
            parts.append(f'<text class="tick" x="{x:.1f}" y="{top - 9}" text-anchor="middle">{escape(name)}</text>')
    for r, name in enumerate(rows):
        y = top + r * cell_h
        parts.append(
            f'<text class="tick" x="{left - 8}" y="{y + cell_h / 2 + 4:.1f}" text-anchor="end">{escape(name)}</text>'
        )
        for c, value in enumerate(cells[r]):
            x = left + c * cell_w
            box = f'x="{x + 1:.1f}" y="{y + 1}" width="{cell_w - 2:.1f}" height="{cell_h - 2}" rx="3"'
            if value is None or not math.isfinite(value):
                parts.append(f'<rect class="cell none" {box}/>')
                continue
            weight = 0.08 + 0.82 * (abs(value) / most) ** 0.7 if value else 0.0
            css = "gain" if value > 0 else "loss" if value < 0 else "none"
            title = f"{escape(name)} {escape(columns[c])}: {numbers.money(value)}"
            parts.append(f'<rect class="cell {css}" {box} fill-opacity="{weight:.2f}"><title>{title}</title></rect>')
            if cell_w >= 40:
                strong = " on" if weight > 0.6 else ""
                text = numbers.decimal(value, 0 if most >= 20 else 2, plus=True)
                parts.append(
                    f'<text class="value{strong}" x="{x + cell_w / 2:.1f}" y="{y + cell_h / 2 + 4:.1f}" '
                    f'text-anchor="middle">{text}</text>'
                )
    return _svg(width, top + cell_h * len(rows) + 6, "".join(parts), "heat", label)


def calibration(
    curves: Sequence[tuple[str, Sequence[tuple[float, float, int]]]], *, size: int = 240, label: str
) -> str:
    """Return observed frequency against forecast probability; the diagonal is perfect, dot size is the share of rows.

    ``curves`` holds (CSS class, points (predicted, observed, count)).
    """
    left, right, top, bottom = 34, 8, 8, 26
    plot = size - left - right
    height = plot + top + bottom
    parts = []
    for value in (0.0, 0.5, 1.0):
        x, y = left + plot * value, top + plot * (1 - value)
        parts.append(f'<line class="grid" x1="{left}" x2="{left + plot}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{height - 8}" text-anchor="middle">{value:g}</text>')
    parts.append(f'<line class="diagonal" x1="{left}" y1="{top + plot}" x2="{left + plot}" y2="{top}"/>')
    for css, points in curves:
        total = sum(count for _, _, count in points) or 1
        shown = [(left + plot * p, top + plot * (1 - o), p, o, n) for p, o, n in points if n]
        if not shown:
            continue
        parts.append(f'<path class="line {css}" d="{_path([s[0] for s in shown], [s[1] for s in shown])}"/>')
        for x, y, predicted, observed, count in shown:
            radius = 1.8 + 5.0 * math.sqrt(count / total)
            title = f"{css}: forecast {predicted:.3f}, observed {observed:.3f}, {count:,} rows"
            parts.append(
                f'<circle class="dot {css}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{title}</title></circle>'
            )
    return _svg(size, height, "".join(parts), "calibration", label)


def rate_interval(rate: float | None, low: float | None, high: float | None, expects: str, *, width: int = 260) -> str:
    """Return a promotion rate with its interval on a 0 to 1 axis; the side that is hoped for is shaded."""
    height, left, right = 30, 6, 6
    plot = width - left - right
    x0 = left if expects == "refuse" else left + plot * 0.5
    parts = [f'<rect class="hoped" x="{x0:.1f}" y="4" width="{plot * 0.5:.1f}" height="22" rx="3"/>']
    parts.append(f'<line class="axis" x1="{left}" x2="{width - right}" y1="15" y2="15"/>')
    if low is not None and high is not None:
        parts.append(
            f'<line class="interval" x1="{left + plot * low:.1f}" x2="{left + plot * high:.1f}" y1="15" y2="15"/>'
        )
        for end in (low, high):
            x = left + plot * end
            parts.append(f'<line class="interval end" x1="{x:.1f}" x2="{x:.1f}" y1="10" y2="20"/>')
    if rate is not None:
        parts.append(f'<circle class="rate" cx="{left + plot * rate:.1f}" cy="15" r="5"/>')
    return _svg(width, height, "".join(parts), "interval-chart", f"promotion rate, {expects} is right")


def interval_dot(value: float | None, low: float | None, high: float | None, most: float, *, width: int = 150) -> str:
    """Return a value with its interval around zero on a shared axis from ``-most`` to ``most``."""
    if value is None or not math.isfinite(value):
        return numbers.ABSENT
    height, pad = 22, 6
    reach = (width - 2 * pad) / 2

    def px(at: float) -> float:
        return width / 2 + reach * min(max(at / (most or 1.0), -1.0), 1.0)

    parts = [f'<line class="zero" x1="{width / 2:g}" x2="{width / 2:g}" y1="3" y2="{height - 3}"/>']
    if low is not None and high is not None:
        parts.append(f'<line class="interval" x1="{px(low):.1f}" x2="{px(high):.1f}" y1="11" y2="11"/>')
    css = "gain" if value > 0 else "loss"
    said = "" if low is None or high is None else f", {numbers.decimal(low, 3)} to {numbers.decimal(high, 3)}"
    parts.append(
        f'<circle class="ic {css}" cx="{px(value):.1f}" cy="11" r="3.2">'
        f"<title>{numbers.decimal(value, 3, plus=True)}{said}</title></circle>"
    )
    return _svg(width, height, "".join(parts), "interval-dot", "coefficient with interval")


def depth_chart(
    picture: str,
    mid: Sequence[float | None],
    low: float,
    high: float,
    marks: Sequence[Mark],
    *,
    width: int = 1160,
    height: int = 340,
    label: str,
) -> str:
    """Return a picture of depth with price and time axes and the mid drawn over it.

    Parameters
    ----------
    picture : str
        Base64 PNG, price from ``high`` at the top to ``low``, time from left to right.
    marks : sequence of Mark
        Times, ``at`` in [0, 1].
    """
    left, right, top, bottom = 62, 8, 8, 26
    plot_w, plot_h = width - left - right, height - top - bottom

    def py(price: float) -> float:
        return top + plot_h * (high - price) / (high - low)

    box = f'x="{left}" y="{top}" width="{plot_w}" height="{plot_h}"'
    parts = [f'<rect class="frame" {box}/>']
    parts.append(
        f'<image {box} preserveAspectRatio="none" style="image-rendering:pixelated" '
        f'href="data:image/png;base64,{picture}"/>'
    )
    for value in nice_ticks(low, high, 6):
        y = py(value)
        parts.append(f'<line class="rule" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        text = f"{value:,.2f}" if high - low < 100 else f"{value:,.0f}"
        parts.append(f'<text class="tick" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    for mark in marks:
        x = left + plot_w * mark.at
        parts.append(f'<line class="rule" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + plot_h}"/>')
        words = f'text-anchor="middle">{escape(mark.label)}</text>'
        parts.append(f'<text class="tick" x="{x:.1f}" y="{height - 8}" {words}')
    pieces: list[list[tuple[float, float]]] = [[]]
    for k, price in enumerate(mid):
        if price is None:
            pieces.append([])
        else:
            pieces[-1].append((left + plot_w * (k + 0.5) / len(mid), py(price)))
    for piece in pieces:
        if len(piece) > 1:
            parts.append(f'<path class="line mid" d="{_path([p[0] for p in piece], [p[1] for p in piece])}"/>')
    return _svg(width, height, "".join(parts), "depth", label)


def sparkbars(counts: Sequence[int], *, width: int = 120, height: int = 26) -> str:
    """Return a tiny histogram."""
    if not counts or not any(counts):
        return numbers.ABSENT
    most, step = max(counts), width / len(counts)
    bars = "".join(
        f'<rect x="{k * step:.1f}" y="{height - max(1.0, height * c / most):.1f}" width="{max(step - 0.8, 0.6):.1f}" '
        f'height="{max(1.0, height * c / most):.1f}"/>'
        for k, c in enumerate(counts)
        if c
    )
    return _svg(width, height, bars, "spark", "distribution")


def fold_bars(values: Sequence[float | None], most: float, *, width: int = 84, height: int = 26) -> str:
    """Return tiny signed bars, one a fold; ``most`` is the value of a full bar, shared by all rows of a table."""
    if not values:
        return numbers.ABSENT
    step, middle = width / len(values), height / 2
    parts = [f'<line class="zero" x1="0" x2="{width}" y1="{middle}" y2="{middle}"/>']
    for k, value in enumerate(values):
        if value is None or not math.isfinite(value) or value == 0:
            continue
        h = max(1.0, (middle - 1) * min(1.0, abs(value) / (most or 1.0)))
        y = middle - h if value > 0 else middle
        css = "gain" if value > 0 else "loss"
        parts.append(
            f'<rect class="{css}" x="{k * step + 1:.1f}" y="{y:.1f}" width="{step - 2:.1f}" height="{h:.1f}">'
            f"<title>fold {k + 1}: {numbers.decimal(value, 3, plus=True)}</title></rect>"
        )
    return _svg(width, height, "".join(parts), "folds", "by fold")


def empty_chart(width: int, height: int, text: str) -> str:
    """Return an empty frame that says why there is nothing."""
    body = f'<text class="note" x="{width / 2:g}" y="{height / 2:g}" text-anchor="middle">{escape(text)}</text>'
    return _svg(width, height, body, "empty", text)
