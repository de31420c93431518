"""More inline charts: ROC curves, a histogram of counts, markouts with their intervals, bars with intervals."""

import math
from collections.abc import Sequence
from html import escape

from backtests.report import numbers
from backtests.report.charts import empty_chart, nice_ticks


def _svg(width: float, height: float, body: str, css: str, label: str) -> str:
    return f'<svg class="chart {css}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">{body}</svg>'


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def roc(curves: Sequence[tuple[str, Sequence[float], Sequence[float]]], *, size: int = 200, label: str) -> str:
    """Return true against false positives; the diagonal knows nothing. ``curves`` holds (CSS class, false, true)."""
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
    for css, false, true in curves:
        points = [(left + plot * x, top + plot * (1 - y)) for x, y in zip(false, true, strict=True)]
        if len(points) > 1:
            parts.append(f'<path class="line {css}" d="{_path(points)}"/>')
    return _svg(size, height, "".join(parts), "calibration", label)


def counts(
    edges: Sequence[float], values: Sequence[int], *, unit: str, label: str, width: int = 560, height: int = 230
) -> str:
    """Return a histogram of counts between edges; bins above zero cost, below zero gain."""
    if not values or not any(values):
        return empty_chart(width, height, "nothing to draw")
    left, right, top, bottom = 44, 14, 14, 26
    plot_w, plot_h = width - left - right, height - top - bottom
    low, high, most = edges[0], edges[-1], max(values)

    def px(value: float) -> float:
        return left + plot_w * (value - low) / (high - low)

    parts = []
    for count in nice_ticks(0, most, 4):
        y = top + plot_h * (1 - count / most)
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{count:,.0f}</text>')
    for k, count in enumerate(values):
        if not count:
            continue
        x, w, h = px(edges[k]), px(edges[k + 1]) - px(edges[k]), plot_h * count / most
        css = "loss" if edges[k] + edges[k + 1] > 0 else "gain"
        title = f"{edges[k]:+.3g} to {edges[k + 1]:+.3g} {escape(unit)}: {count:,}"
        parts.append(
            f'<rect class="bar {css}" x="{x + 0.5:.1f}" y="{top + plot_h - h:.1f}" width="{max(w - 1, 0.6):.1f}" '
            f'height="{h:.1f}"><title>{title}</title></rect>'
        )
    for value in nice_ticks(low, high, 6):
        parts.append(
            f'<text class="tick" x="{px(value):.1f}" y="{height - 8}" text-anchor="middle">{numbers.axis(value)}</text>'
        )
    if low < 0 < high:
        parts.append(f'<line class="zero" x1="{px(0):.1f}" x2="{px(0):.1f}" y1="{top}" y2="{top + plot_h}"/>')
    return _svg(width, height, "".join(parts), "histogram", label)


def points_with_intervals(
    points: Sequence[tuple[str, float | None, float | None, float | None]],
    *,
    label: str,
    width: int = 560,
    height: int = 230,
    joined: bool = True,
) -> str:
    """Return (name, value, low, high) as dots with whiskers on a common zero line, evenly spaced, ``joined`` by a line or not."""
    known = [(n, v, lo, hi) for n, v, lo, hi in points if v is not None and math.isfinite(v)]
    if not known:
        return empty_chart(width, height, "nothing to draw")
    ends = [value for _, v, lo, hi in known for value in (v, lo, hi) if value is not None and math.isfinite(value)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    pad = 0.08 * (high - low) or 1.0
    low, high = low - pad, high + pad
    left, right, top, bottom = 54, 14, 12, 26
    plot_w, plot_h = width - left - right, height - top - bottom

    def py(value: float) -> float:
        return top + plot_h * (high - value) / (high - low)

    parts = []
    for value in nice_ticks(low, high, 5):
        css = "zero" if abs(value) < 1e-12 else "grid"
        y = py(value)
        parts.append(f'<line class="{css}" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{numbers.axis(value)}</text>'
        )
    places = []
    for k, (name, v, lo, hi) in enumerate(known):
        x = left + plot_w * (k + 0.5) / len(known)
        places.append((x, py(v)))
        if lo is not None and hi is not None:
            parts.append(f'<line class="interval" x1="{x:.1f}" x2="{x:.1f}" y1="{py(lo):.1f}" y2="{py(hi):.1f}"/>')
            for end in (lo, hi):
                y = py(end)
                parts.append(
                    f'<line class="interval end" x1="{x - 4:.1f}" x2="{x + 4:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
                )
        parts.append(f'<text class="tick" x="{x:.1f}" y="{height - 8}" text-anchor="middle">{escape(name)}</text>')
    if joined:
        parts.append(f'<path class="line series-0" d="{_path(places)}"/>')
    for (x, y), (name, v, lo, hi) in zip(places, known, strict=True):
        between = f" ({lo:+.3g} to {hi:+.3g})" if lo is not None and hi is not None else ""
        title = f"{escape(name)}: {v:+.3g}{between}"
        parts.append(f'<circle class="dot series-0" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{title}</title></circle>')
    return _svg(width, height, "".join(parts), "markouts", label)
