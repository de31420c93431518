"""What each feature says about the label, every form of the label, and pictures of the book and its order flow."""

import math
from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import Final
from zoneinfo import ZoneInfo

from backtests.report import charts, numbers
from backtests.report.html import Column, Group, Row, badge, card, section, table, term, tile, tiles
from backtests.report.record import NightRecord
from backtests.report.record_features import BookPicture, ExplainedRow, FeatureInformation, FeatureReport
from marketdata.clock import from_ns

LITERATURE: Final = {
    "best level": "literature: 65 %, in the next 64.6 % (Cont et al. 2014, 2023)",
    "integrated": "literature: in the next 83.8 % (Cont et al. 2023)",
}
"""What the literature reports for 10 s bins of half hours."""


def information(record: NightRecord) -> str:
    """Return information coefficients of every feature by fold, what is chosen, and what moves together."""
    report = record.information
    if report is None or not report.features:
        return ""
    always = [item for item in report.features if item.chosen_share == 1.0]
    sometimes = [item for item in report.features if item.chosen_share and item.chosen_share < 1.0]
    never = [item for item in report.features if not item.chosen_share]
    folds = [fold for item in report.features for fold in item.folds if fold is not None]
    most = 1.15 * max(
        (abs(fold.coefficient) for fold in folds if fold.coefficient is not None and fold.q_by is not None), default=0.1
    )
    lead = (
        f"Spearman correlation between a feature and the label's move, inside each instrument's half hours, over training "
        f"rows alone; intervals and tests from a stationary bootstrap of {report.blocks[-1]:,} blocks of "
        f"{report.block_minutes:g} min. A feature is chosen where its {term('q-value')} is at most {report.rate:g} "
        f"({report.method.upper()}). Fitted columns belong to the last window and are judged there."
    )
    head = tiles(
        (
            tile("features", f"{len(report.features):,}", f"{sum(item.fitted for item in report.features):,} fitted"),
            tile("chosen in every fold", f"{len(always):,}", f"of {len(report.folds):,} training windows"),
            tile("in some", f"{len(sometimes):,}"),
            tile("never", f"{len(never):,}", "no information found"),
            tile("clusters", f"{report.clusters:,}", "of columns that move together"),
        )
    )
    body = head
    groups = [("Chosen in every training window", always), ("In some", sometimes)]
    shown = [Group(name, _rows(items, report, most)) for name, items in groups if items]
    if shown:
        body += card("", table(_COLUMNS, shown, "features information"), _note(report))
    if never:
        hidden = table(_COLUMNS, [Group("", _rows(never, report, most))], "features information")
        text = f"{len(never):,} features in which no information was found"
        body += f'<details class="card"><summary>{text}</summary>{hidden}</details>'
    return section("information", "What each feature says", body + _clusters(report), lead)


_COLUMNS: Final = (
    Column("feature"),
    Column("unit"),
    Column(term("IC"), True, True),
    Column("95 % interval, last window"),
    Column("by window"),
    Column("q, BH", True),
    Column("q, BY", True),
    Column("chosen", True),
    Column("same sign", True),
    Column("cluster", True, True),
    Column("ns a row", True, True),
)


def _rows(items: Sequence[FeatureInformation], report: FeatureReport, most: float) -> list[Row]:
    def size(item: FeatureInformation) -> float:
        last = item.folds[-1]
        return -abs(last.coefficient) if last and last.coefficient is not None else 1.0

    rows = []
    for item in sorted(items, key=size):
        last = item.folds[-1]
        words = "\n".join(part for part in (item.formula, item.reference) if part)
        name = f'<code title="{escape(words, quote=True)}">{escape(item.name)}</code>'
        if item.fitted:
            name += " " + badge("fitted", "quiet")
        seen = sum(fold is not None for fold in item.folds)
        chosen = sum(fold is not None and fold.chosen for fold in item.folds)
        values = [fold.coefficient if fold else None for fold in item.folds]
        rows.append(
            Row(
                (
                    name,
                    escape(item.unit),
                    numbers.decimal(last.coefficient if last else None, 3, plus=True),
                    charts.interval_dot(
                        last.coefficient if last else None,
                        last.low if last else None,
                        last.high if last else None,
                        most,
                    ),
                    charts.fold_bars(values, most),
                    _q(last.q_bh if last else None, report.rate),
                    _q(last.q_by if last else None, report.rate),
                    f"{chosen} / {seen}",
                    numbers.share(item.steady_share, 0),
                    f"{item.cluster + 1}" if item.cluster_size > 1 else numbers.ABSENT,
                    numbers.compact(item.cost_ns),
                )
            )
        )
    return rows


def _q(value: float | None, rate: float) -> str:
    text = numbers.probability(value)
    return f'<span class="met">{text}</span>' if value is not None and value <= rate else text


def _note(report: FeatureReport) -> str:
    windows = " · ".join(
        f"{name}: {rows:,} rows, {blocks:,} blocks"
        for name, rows, blocks in zip(report.folds, report.rows, report.blocks, strict=True)
    )
    return f"Windows: {escape(windows)}."


def _clusters(report: FeatureReport) -> str:
    groups: dict[int, list[FeatureInformation]] = {}
    for item in report.features:
        if item.cluster_size > 1:
            groups.setdefault(item.cluster, []).append(item)
    if not groups:
        return ""

    def strength(item: FeatureInformation) -> float:
        last = item.folds[-1]
        return abs(last.coefficient) if last and last.coefficient is not None else 0.0

    rows = []
    for number, items in sorted(groups.items()):
        ordered = sorted(items, key=strength, reverse=True)
        others = " ".join(f"<code>{escape(item.name)}</code>" for item in ordered[1:])
        best = f"<code><b>{escape(ordered[0].name)}</b></code>"
        rows.append(Row((f"{number + 1}", f"{len(items):,}", best, f'<div class="chips">{others}</div>')))
    columns = (Column("cluster", True), Column("columns", True), Column("says most"), Column("moves with it"))
    note = "Average linkage on 1 − |rank correlation|, cut at 0.7: columns of one cluster say much the same."
    return card("What moves together", table(columns, [Group("", rows)], "plain"), note)


def label_forms(record: NightRecord) -> str:
    """Return class shares and persistence scores of every form of the label."""
    if not record.label_forms:
        return ""
    columns = (
        Column("form"),
        Column("down · flat · up"),
        Column("labelled", True),
        Column("majority", True),
        Column(term("persistence"), True),
        Column("its macro-F1", True),
        Column("row before", True),
        Column("already past", True),
        Column("known after", True),
    )
    rows = []
    for item in record.label_forms:
        used = " " + badge("trained on", "good") if item.is_used else ""
        rows.append(
            Row(
                (
                    f'<b>{escape(item.form.replace("_", " "))}</b>{used}<span class="row-note">{escape(item.description)}</span>',
                    _stack(item.down, item.flat, item.up),
                    f"{item.labelled:,}",
                    numbers.share(item.majority),
                    numbers.share(item.persistence),
                    numbers.decimal(item.persistence_f1, 3),
                    numbers.share(item.previous_row),
                    numbers.share(item.already_happened),
                    numbers.seconds(item.wait_s),
                )
            )
        )
    note = (
        "Accuracies of forecasts that know nothing of what moves prices: the most frequent class; the last label that was "
        "known; the label of the row before, which nobody knew yet; and, for the smoothed form, the sign of the part that is "
        "past when the row is taken. Where these are high the label is easy, not the model good."
    )
    return card("Seven forms of the label on the night's rows", table(columns, [Group("", rows)], "plain forms"), note)


def _stack(down: float | None, flat: float | None, up: float | None) -> str:
    parts = (("loss", down, "down"), ("flat", flat, "flat"), ("gain", up, "up"))
    bars = "".join(
        f'<i class="{css}" style="flex:{share:.4f}" title="{name}: {100 * share:.1f} %">'
        f"{f'{100 * share:.0f} %' if share > 0.12 else ''}</i>"
        for css, share, name in parts
        if share
    )
    return f'<div class="stack narrow">{bars}</div>'


def books(record: NightRecord) -> str:
    """Return the depth heatmap and the multi-level order flow of the pictured instruments."""
    if not record.books:
        return ""
    body = "".join(_book(item, record.time_zone) for item in record.books)
    lead = (
        "The session's book: the darker, the more lots rest at a price; the line is the mid. Below, the cumulated order flow "
        "of each level over the mean depth of a level, and how much of the move of the same 10 s it explains."
    )
    return section("books", "Book and order flow", body, lead)


def _book(item: BookPicture, zone: str) -> str:
    marks = _hours(item, zone)
    depth = charts.depth_chart(
        item.depth_png, item.mid, item.low, item.high, marks, label=f"depth of {item.symbol} by price and time"
    )
    legend = (
        '<div class="legend"><span class="key"><i class="box gain"></i>bids</span>'
        '<span class="key"><i class="box loss"></i>asks</span><span class="key"><i class="swatch"></i>mid</span></div>'
    )
    lines = [
        charts.Line(f"level {m + 1}", values, f"series-{m % 7}", strong=m == 0) for m, values in enumerate(item.flow)
    ]
    length = len(item.move)
    at = [charts.Mark(mark.at * (length - 1), mark.label, rule=False) for mark in marks]
    step = (item.close_ns - item.open_ns) / max(length, 1)
    hover = [f"{_local(int(item.open_ns + (k + 1) * step), zone):%H:%M}" for k in range(length)]
    names = "".join(
        f'<span class="key"><i class="swatch {line.style}"></i>{escape(line.name)}</span>' for line in lines
    )
    flow = f'<div class="legend">{names}</div>' + charts.line_chart(
        lines, at, hover, label=f"cumulated order flow of {item.symbol} by level"
    )
    move = charts.line_chart(
        [charts.Line("mid, ticks since the open", item.move, "series-1", strong=True)],
        at,
        hover,
        height=150,
        label=f"mid of {item.symbol}, ticks since the open",
    )
    right = _weights(item.weights) + _explained(item.explained)
    return (
        card(f"{escape(item.symbol)}: resting lots by price and time", legend + depth)
        + '<div class="grid two">'
        + card("Order flow by level, cumulated", flow + '<h3 class="sub">Mid, ticks since the open</h3>' + move)
        + card("Integrated flow", right)
        + "</div>"
    )


def _hours(item: BookPicture, zone: str) -> list[charts.Mark]:
    """Return a mark for every full hour of the session (every third of a long one), places in [0, 1]."""
    hour = 3_600_000_000_000
    every = hour * (3 if item.close_ns - item.open_ns > 12 * hour else 1)
    first = math.ceil(item.open_ns / every) * every
    whole = item.close_ns - item.open_ns
    return [
        charts.Mark((at - item.open_ns) / whole, f"{_local(at, zone):%H:%M}", rule=True)
        for at in range(first, item.close_ns, every)
    ]


def _local(ns: int, zone: str) -> datetime:
    return from_ns(ns).astimezone(ZoneInfo(zone))


def _weights(weights: Sequence[float]) -> str:
    most = max((abs(value) for value in weights), default=1.0) or 1.0
    rows = [
        Row(
            (
                f"level {m + 1}",
                f'<div class="weight"><i class="{"gain" if value >= 0 else "loss"}" '
                f'style="width:{100 * abs(value) / most:.0f}%"></i></div>',
                numbers.decimal(value, 3),
            )
        )
        for m, value in enumerate(weights)
    ]
    columns = (Column("first principal component"), Column(""), Column("weight", True))
    return table(columns, [Group("", rows)], "plain weights")


def _explained(found: Sequence[ExplainedRow]) -> str:
    columns = (
        Column("explains the same 10 s"),
        Column("R² in half hours", True),
        Column("in the next", True),
        Column("whole day", True),
    )
    rows = [
        Row(
            (
                escape(one.measure)
                + (f'<span class="row-note">{LITERATURE[one.measure]}</span>' if one.measure in LITERATURE else ""),
                numbers.share(one.inside),
                numbers.share(one.ahead),
                numbers.share(one.whole),
            )
        )
        for one in found
    ]
    note = '<p class="card-note">A check of the flows, not a forecast: move and flow are of the same moment.</p>'
    return table(columns, [Group("", rows)], "plain") + note
