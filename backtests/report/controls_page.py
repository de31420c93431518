"""The page of ``flowsense controls``: null and planted worlds together, the power curve, and why the gate refused."""

from collections.abc import Sequence
from html import escape
from typing import Any, Final

from backtests.report import charts, numbers
from backtests.report.html import Column, Group, Row, card, section, table, tile, tiles
from backtests.report.study_pages import study_page
from models.gate import DOES_NOT_PAY, INSUFFICIENT_EVIDENCE, PROMOTED

POWER_AT: Final = 0.5
POWER: Final = 0.95
"""A planted edge of so many median spreads is to be promoted so often (R16)."""
STYLES: Final = {PROMOTED: "gain", INSUFFICIENT_EVIDENCE: "none", DOES_NOT_PAY: "loss"}
"""Colours of the gate's reasons; the others are grey."""
MEANING: Final = {
    "n0": "forecasts shifted on the last night's own tape",
    "n1": "a market where nothing pays",
    "n2": "slow signals that know nothing",
    "planted": "an informed trader of this strength",
}
"""What each kind of world is, in words."""


def controls_page(found: Sequence[Any], version: str, form: str, level: float) -> str:
    """Return the page of accumulated control worlds.

    Parameters
    ----------
    found : sequence of ControlTotal
        All kinds and strengths of one gate and form (``backtests.controls.totals``).
    level : float
        Largest share of null worlds that may be promoted.
    """
    refuse = [one for one in found if one.expects == "refuse"]
    small = [one for one in refuse if one.world != "n0"]
    planted = sorted((one for one in found if one.world == "planted"), key=lambda one: one.strength or 0.0)
    body = tiles(_tiles(found, small, planted, version, level))
    rates = _rates([one for one in found if one.world != "planted"], planted)
    lead = (
        "In a null world nothing pays after costs; in a planted one somebody informed leaves an edge of a strength: the oracle's "
        "net profit a round trip, in median spreads. Both go through the whole gate and are only shown together: a gate that "
        "refuses everything is no gate. Bounds are exact for a binomial, 95 % (Clopper, Pearson 1934)."
    )
    body += section("rates", "Promoted", rates, lead)
    curve = card(
        "Promoted, by the strength of the planted edge",
        power_curve([(one.strength or 0.0, one.promoted, one.runs, one.bound_low, one.bound_high) for one in planted]),
        "whiskers: exact 95 % bounds; dashed: 95 % asked for at +0.5; up to 0 there is nothing to find",
    )
    said = card(
        "What the gate said",
        _shares(found),
        "blue: promoted; orange: does not pay; light grey: not enough evidence; dark grey: the rest",
    )
    pictures = f'<div class="grid two">{curve}{said}</div>'
    body += section("power", "Power, and reasons", pictures + _reasons(found))
    worlds = sum(one.runs for one in found)
    facts = f"gate {version} · worlds {form} · {worlds:,} runs"
    return study_page("How often the gate is right", facts, body)


def _tiles(found: Sequence[Any], small: Sequence[Any], planted: Sequence[Any], version: str, level: float) -> list[str]:
    from backtests.controls import exact_bounds

    runs, promoted = sum(one.runs for one in small), sum(one.promoted for one in small)
    high = exact_bounds(promoted, runs)[1]
    at = next((one for one in planted if one.strength == POWER_AT), None)
    shifted = [one for one in found if one.world == "n0"]
    made = [
        tile(
            "promoted where nothing pays",
            f"{promoted:,} of {runs:,}" if runs else numbers.ABSENT,
            f"at most {numbers.share(high)} (asked: {numbers.share(level)})" if runs else "no null world has been run",
        ),
        tile(
            f"promoted at {POWER_AT:+g} spreads",
            f"{at.promoted:,} of {at.runs:,}" if at else numbers.ABSENT,
            f"at least {numbers.share(at.bound_low)} (asked: {numbers.share(POWER, 0)})" if at else "not run yet",
        ),
    ]
    for one in shifted:
        note = f"on shifted forecasts; at most {numbers.share(one.bound_high)}"
        made.append(tile("promoted by night shifts", f"{one.promoted:,} of {one.runs:,}", note))
    made.append(
        tile("gate", f'<span class="hash">{escape(version[:7])}</span>', "counts of other versions do not add up")
    )
    return made


def _rates(null: Sequence[Any], planted: Sequence[Any]) -> str:
    def row(one: Any) -> Row:
        rate = one.promoted / one.runs if one.runs else None
        right = one.promoted if one.expects == "promote" else one.runs - one.promoted
        return Row(
            [
                f"{one.world}<span class='row-note'>{escape(MEANING[one.world])}</span>",
                "" if one.strength is None else _strength(one.strength),
                one.expects,
                f"{one.promoted:,} of {one.runs:,}",
                numbers.share(rate),
                f"{numbers.share(one.bound_low)} … {numbers.share(one.bound_high)}",
                charts.rate_interval(rate, one.bound_low, one.bound_high, one.expects),
                numbers.share(right / one.runs if one.runs else None),
            ]
        )

    columns = [
        Column("world"),
        Column("strength", True),
        Column("the gate should"),
        Column("promoted", True),
        Column("rate", True),
        Column("95 % bounds", True),
        Column("0 to 1; shaded: the side hoped for"),
        Column("right", True),
    ]
    groups = [Group("nothing pays", [row(one) for one in null]), Group("planted", [row(one) for one in planted])]
    return table(columns, [group for group in groups if group.rows], "controls")


def power_curve(points: Sequence[tuple[float, int, int, float, float]], *, width: int = 560, height: int = 330) -> str:
    """Return the share promoted against the strength planted, with exact bounds and what R16 asks for.

    ``points`` holds (strength, promoted, runs, low, high), by strength.
    """
    known = [point for point in points if point[2]]
    if not known:
        return charts.empty_chart(width, height, "no planted world has been run")
    left, right, top, bottom = 54, 18, 14, 40
    plot_w, plot_h = width - left - right, height - top - bottom
    low, high = min(0.0, known[0][0]), max(POWER_AT, known[-1][0])
    pad = 0.06 * (high - low)
    low, high = low - pad, high + pad

    def px(strength: float) -> float:
        return left + plot_w * (strength - low) / (high - low)

    def py(rate: float) -> float:
        return top + plot_h * (1.0 - rate)

    parts = [
        f'<rect class="hoped" x="{px(POWER_AT):.1f}" y="{py(1):.1f}" width="{px(high) - px(POWER_AT):.1f}" '
        f'height="{py(POWER) - py(1):.1f}"/>'
    ]
    for rate in (0.0, 0.25, 0.5, 0.75, 1.0):
        css = "zero" if rate == 0 else "grid"
        parts.append(f'<line class="{css}" x1="{left}" x2="{width - right}" y1="{py(rate):.1f}" y2="{py(rate):.1f}"/>')
        parts.append(
            f'<text class="tick" x="{left - 8}" y="{py(rate) + 4:.1f}" text-anchor="end">{100 * rate:.0f} %</text>'
        )
    asked = f'x1="{left}" x2="{width - right}" y1="{py(POWER):.1f}" y2="{py(POWER):.1f}"'
    parts.append(f'<line class="mean" {asked}><title>{100 * POWER:.0f} %</title></line>')
    parts.append(f'<line class="mean" x1="{px(POWER_AT):.1f}" x2="{px(POWER_AT):.1f}" y1="{top}" y2="{top + plot_h}"/>')
    parts.append(f'<line class="zero" x1="{px(0):.1f}" x2="{px(0):.1f}" y1="{top}" y2="{top + plot_h}"/>')
    label = f"{100 * POWER:.0f} % asked for at {POWER_AT:+g}"
    parts.append(f'<text class="note" x="{left + 8}" y="{py(POWER) + 16:.1f}">{label}</text>')
    for strength in sorted({point[0] for point in known} | {0.0, POWER_AT}):
        where = f'x="{px(strength):.1f}" y="{height - 22}" text-anchor="middle"'
        parts.append(f'<text class="tick" {where}>{_strength(strength)}</text>')
    middle = left + plot_w / 2
    axis = "strength: the oracle's net profit a round trip, in median spreads"
    parts.append(f'<text class="tick" x="{middle:.1f}" y="{height - 4}" text-anchor="middle">{axis}</text>')
    line = "L".join(f"{px(s):.1f} {py(k / n):.1f}" for s, k, n, _, _ in known)
    parts.append(f'<path class="line series-0" d="M{line}"/>')
    for strength, promoted, runs, lower, upper in known:
        x = px(strength)
        parts.append(f'<line class="interval" x1="{x:.1f}" x2="{x:.1f}" y1="{py(lower):.1f}" y2="{py(upper):.1f}"/>')
        for end in (lower, upper):
            y = py(end)
            parts.append(f'<line class="interval end" x1="{x - 5:.1f}" x2="{x + 5:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        title = f"{strength:+g}: {promoted} of {runs}, {lower:.1%} to {upper:.1%}"
        parts.append(
            f'<circle class="rate" cx="{x:.1f}" cy="{py(promoted / runs):.1f}" r="5"><title>{title}</title></circle>'
        )
    body = "".join(parts)
    return f'<svg class="chart lines" viewBox="0 0 {width} {height}" role="img" aria-label="power curve">{body}</svg>'


def _strength(value: float) -> str:
    return f"{value:+g}".replace("-", "\u2212") if value else "0"


def _world(one: Any) -> str:
    return escape(one.world) if one.strength is None else f"{escape(one.world)} {_strength(one.strength)}"


def _names(found: Sequence[Any]) -> list[str]:
    return sorted({name for one in found for name in one.reasons}, key=lambda name: (name != PROMOTED, name))


def _shares(found: Sequence[Any]) -> str:
    """Return one stacked bar a world: how often each reason was given."""
    rows = []
    for one in found:
        bars = "".join(
            f'<i class="{STYLES.get(name, "flat")}" style="flex:{one.reasons[name]}" '
            f'title="{escape(name)}: {one.reasons[name]:,}">{one.reasons[name]:,}</i>'
            for name in _names(found)
            if one.reasons.get(name)
        )
        rows.append(Row([_world(one), f'<div class="stack">{bars}</div>']))
    return table([Column("world"), Column("runs by reason")], [Group("", rows)], "shares")


def _reasons(found: Sequence[Any]) -> str:
    names = _names(found)
    rows = [
        Row([_world(one), *(numbers.integer(one.reasons[name]) if name in one.reasons else "" for name in names)])
        for one in found
    ]
    columns = [Column("world"), *(Column(escape(name.replace("_", " ")), True) for name in names)]
    return table(columns, [Group("", rows)], "plain")
