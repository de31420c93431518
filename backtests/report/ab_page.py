"""The page of ``flowsense ab``: two execution algorithms on the same parents, their differences in pairs."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from backtests.report import charts, curves, numbers
from backtests.report.html import Column, Group, Row, badge, card, section, table, tile, tiles
from backtests.report.study_pages import study_page
from marketdata.clock import NS_PER_MINUTE

BINS: Final = 41
"""Bins of the histogram, the middle one about zero."""
BOUNDS: Final = ("difference_bps", "low_bps", "high_bps")
TAIL: Final = 0.01
"""Share of the differences on both sides together that the histogram puts into its last bins."""
FIGURES: Final = (
    ("shortfall_bps", "implementation shortfall, bps", 3),
    ("decision_bps", "against the decision price, bps", 3),
    ("arrival_bps", "against the arrival price, bps", 3),
    ("vwap_bps", "against the market's VWAP, bps", 3),
    ("fill_rate", "lots filled", 3),
    ("maker_share", "of them as maker", 3),
    ("children", "child orders", 1),
)
PARTS: Final = ("shortfall", "delay", "execution", "opportunity", "fees")
LATENCIES: Final = (
    ("decision_us", "decision"),
    ("wire_us", "wire"),
    ("acknowledgement_us", "acknowledgement"),
    ("queue_us", "queue wait"),
    ("fill_us", "fill"),
)


def ab_page(made: Mapping[str, Any]) -> str:
    """Return the page of a comparison (``orchestration.comparing.compare_algorithms``)."""
    a, b, pairs = made["a"], made["b"], made["pairs"]
    between = f"{numbers.decimal(made['low_bps'], 3, plus=True)} … {numbers.decimal(made['high_bps'], 3, plus=True)}"
    money = {name: made["algorithms"][name]["shortfall"] for name in (a, b)}
    cheaper = sum(pair["difference_bps"] < 0 for pair in pairs) / len(pairs)
    saved = None if None in money.values() else money[a] - money[b]
    head = _verdict(made, between) + tiles(
        [
            tile(f"{escape(b)} less {escape(a)}, bps", numbers.decimal(made["difference_bps"], 3, plus=True), between),
            tile("parents", numbers.integer(made["parents"]), f"{made['lots']} lots over {made['minutes']:g} minutes"),
            tile(f"{escape(b)} cheaper in", numbers.share(cheaper), "of the parents"),
            tile("shortfall saved", numbers.coloured_money(saved), "over all parents, in quote currency"),
            tile("block", numbers.decimal(made["block"], 1), "parents drawn together, on average"),
        ]
    )
    picture = f'<div class="grid two">{_cumulative(pairs)}{_histogram(pairs)}</div>' + _groups(made["groups"])
    lead = (
        "The same whole parents on the same tape, worked by each alone (W8). A difference is the second's shortfall "
        "less the first's, in basis points of the parent's value: below zero the second is cheaper. Intervals are of 95 %, by a "
        "stationary bootstrap of parents in the order of their starts."
    )
    body = head + section("pairs", "Differences in pairs", picture, lead)
    body += section(
        "figures", "What each cost", _figures(made, a, b), "Means over parents; money and its parts are sums."
    )
    body += section("parents", "Every parent", _parents(pairs, a, b), "In the order of their starts.")
    facts = [
        f"night {made['night']}",
        f"forecasts of {made['model']}",
        f"{len(made['sessions'])} test sessions",
        f"{made['queue_model'].replace('_', ' ')} queue",
        *made["changes"],
    ]
    return study_page(f"{a} against {b}", " · ".join(facts), body)


def _verdict(made: Mapping[str, Any], between: str) -> str:
    if not made["differs"]:
        word, css = "no difference shown", "quiet"
        said = f"The interval {between} bps holds zero: these parents do not say which is cheaper."
    else:
        second = made["difference_bps"] < 0
        word, css = f"{made['b'] if second else made['a']} is cheaper", "good" if second else "warn"
        said = f"The interval {between} bps leaves out zero."
    return f'<div class="card"><div class="verdict">{badge(word, css)}<p>{said}</p></div></div>'


def _cumulative(pairs: Sequence[Mapping[str, Any]]) -> str:
    total, line = 0.0, [0.0]
    for pair in pairs:
        total += pair["difference_bps"]
        line.append(total)
    marks, seen = [], ""
    for k, pair in enumerate(pairs):
        if pair["date"] != seen:
            seen = pair["date"]
            marks.append(charts.Mark(k, seen[5:], rule=True))
    hover = ["start", *(f"{pair['date']} {pair['symbol']}" for pair in pairs)]
    drawn = charts.line_chart(
        [charts.Line("sum", line, "series-0", strong=True)], marks, hover, label="sum of differences"
    )
    return card(
        "Sum of the differences, bps",
        drawn,
        "a straight slope is a difference that is always there, a step is one parent",
    )


def _histogram(pairs: Sequence[Mapping[str, Any]]) -> str:
    values = sorted(pair["difference_bps"] for pair in pairs)
    cut = int(TAIL / 2 * (len(values) - 1))
    reach = max(abs(values[cut]), abs(values[-1 - cut]), 1e-9)
    step = 2 * reach / BINS
    edges = [-reach + k * step for k in range(BINS + 1)]
    found = [0] * BINS
    for value in values:
        found[min(BINS - 1, max(0, int((value + reach) / step)))] += 1
    drawn = curves.counts(edges, found, unit="bps", label="differences of parents", height=250)
    return card(
        "Differences of the parents, bps",
        drawn,
        "left of zero the second is cheaper; the last bins hold what lies beyond",
    )


def _groups(groups: Sequence[Mapping[str, Any]]) -> str:
    def drawn(kinds: Sequence[str], title: str) -> str:
        own = [row for row in groups if row["kind"] in kinds]
        points = [
            (row["name"][5:] if row["kind"] == "session" else row["name"], *(row[k] for k in BOUNDS)) for row in own
        ]
        picture = curves.points_with_intervals(points, label=f"mean difference by {title}", joined=False)
        return card(f"Mean difference by {title}, bps", picture, "groups of fewer than twenty parents have no interval")

    pictures = drawn(("all", "side", "instrument"), "side and instrument") + drawn(("all", "session"), "session")
    rows = [
        Row(
            [
                escape(row["name"]),
                numbers.integer(row["parents"]),
                numbers.decimal(row["difference_bps"], 3, plus=True),
                numbers.decimal(row["low_bps"], 3, plus=True),
                numbers.decimal(row["high_bps"], 3, plus=True),
            ]
        )
        for row in groups
    ]
    columns = [Column("parents of"), *(Column(name, True) for name in ("number", "mean, bps", "from", "to"))]
    listed = table(columns, [Group("", rows)], "plain")
    return f'<div class="grid two">{pictures}</div>{listed}'


def _figures(made: Mapping[str, Any], a: str, b: str) -> str:
    arms = made["algorithms"]

    def line(label: str, values: Sequence[float | None], digits: int) -> Row:
        one, other = values
        apart = None if one is None or other is None else other - one
        cells = [numbers.decimal(value, digits) for value in values]
        return Row([label, *cells, numbers.decimal(apart, digits, plus=True)])

    means = [line(label, [arms[name][key] for name in (a, b)], digits) for key, label, digits in FIGURES]
    parts = [line(name, [arms[arm][name] for arm in (a, b)], 2) for name in PARTS]
    keys = [key for key in arms[a] if key.startswith("markout_")]
    markouts = [
        line(f"after {key.removeprefix('markout_').removesuffix('_bps')}", [arms[n][key] for n in (a, b)], 3)
        for key in keys
    ]
    split = [line(label, [arms[name][key] for name in (a, b)], 1) for key, label in LATENCIES]
    columns = [Column(""), Column(escape(a), True), Column(escape(b), True), Column("difference", True)]
    groups = [
        Group("mean over parents", means),
        Group("shortfall = delay + execution + opportunity + fees, sums in quote currency", parts),
        Group("markout, bps: below zero the price went our way", markouts),
        Group("latency of a child, µs", split),
    ]
    return table(columns, groups, "plain")


def _parents(pairs: Sequence[Mapping[str, Any]], a: str, b: str) -> str:
    rows = [
        Row(
            [
                escape(pair["date"]),
                escape(pair["at"]),
                escape(pair["symbol"]),
                pair["side"],
                numbers.decimal(pair["a_bps"], 2, plus=True),
                numbers.decimal(pair["b_bps"], 2, plus=True),
                numbers.decimal(pair["difference_bps"], 2, plus=True),
                f"{numbers.share(pair['a_filled'], 0)} / {numbers.share(pair['b_filled'], 0)}",
                f"{numbers.share(pair['a_maker'], 0)} / {numbers.share(pair['b_maker'], 0)}",
            ]
        )
        for pair in pairs
    ]
    heads = [f"{escape(a)}, bps", f"{escape(b)}, bps", "difference", "filled", "as maker"]
    columns = [
        *(Column(name) for name in ("session", "start", "instrument", "side")),
        *(Column(h, True) for h in heads),
    ]
    return f'<details class="card"><summary>{len(rows)} parents</summary>{table(columns, [Group("", rows)], "plain")}</details>'


def pair_rows(made: Any, time_zone: str) -> list[dict[str, Any]]:
    """Return one row a parent of a comparison (``backtests.ab.ABResult``), as page and CSV show them."""
    rows = []
    for one, first, second in zip(made.assignments, *made.reports, strict=True):
        rows.append(
            {
                "date": one.session.date.isoformat(),
                "at": numbers.moment(one.parent.start_ns, time_zone, with_date=False),
                "symbol": one.symbol,
                "side": "buy" if one.parent.side > 0 else "sell",
                "lots": one.parent.lots,
                "minutes": (one.parent.end_ns - one.parent.start_ns) / NS_PER_MINUTE,
                "a_bps": first.shortfall_bps,
                "b_bps": second.shortfall_bps,
                "difference_bps": second.shortfall_bps - first.shortfall_bps,
                "a_shortfall": first.shortfall,
                "b_shortfall": second.shortfall,
                "a_filled": first.fill_rate,
                "b_filled": second.fill_rate,
                "a_maker": first.maker_share,
                "b_maker": second.maker_share,
            }
        )
    return rows
