"""The parts of the page about the ground: data quality, signals, features, labels, rows and time of every stage."""

from datetime import date
from html import escape

from backtests.report import charts, numbers
from backtests.report.feature_sections import label_forms
from backtests.report.html import Column, Group, Row, absent, badge, card, section, table, term
from backtests.report.record import Ablation, FeatureSummary, NightRecord, PartitionQuality

MARKS = {"published": ("✓", "good"), "quarantined": ("Q", "bad"), "missing": ("·", "absent")}


def quality(record: NightRecord) -> str:
    """Return a grid of partitions by day, and every refusal or warning in words."""
    if not record.partitions:
        return section("quality", "Data quality", absent("No partition was made tonight."))
    found = record.partitions
    refused = [p for p in found if p.status == "quarantined"]
    warned = [p for p in found if p.status == "published" and p.reasons]
    lead = (
        f"{sum(p.status == 'published' for p in found):,} partitions published, "
        f"<b>{len(refused):,} in {term('quarantine')}</b>, {sum(p.checks_passed for p in found):,} checks passed, "
        f"{sum(p.checks_failed for p in found):,} failed, {sum(p.rows for p in found):,} rows."
    )
    words = _reasons([*refused, *warned]) if refused or warned else absent("Every check of every partition passed.")
    beside = card("What the audits said", words) + _signals(record)
    body = f'<div class="beside">{_matrix(found)}<div>{beside}</div></div>'
    return section("quality", "Data quality", body, lead)


def _matrix(found: tuple[PartitionQuality, ...]) -> str:
    days = sorted({p.day for p in found})[-20:]
    lines: dict[tuple[str, str], dict[date, PartitionQuality]] = {}
    for p in found:
        lines.setdefault((p.asset, p.symbol or ""), {})[p.day] = p
    head = "".join(f"<th scope='col'>{day.day}<br>{day:%b}</th>" for day in days)
    rows, previous = [], None
    for (asset, symbol), cells in lines.items():
        name = escape(asset.replace("_", " ")) if asset != previous else ""
        rows.append(
            f"<tr class='{'first' if name else ''}'><th scope='row'>{name}</th><td>{escape(symbol) or 'all'}</td>"
            + "".join(_matrix_cell(cells.get(day)) for day in days)
            + f"<td class='num'>{sum(p.rows for p in cells.values()):,}</td></tr>"
        )
        previous = asset
    grid = (
        f"<table class='matrix'><thead><tr><th></th><th></th>{head}<th class='num'>rows</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
    key = "✓ published   ! published with a warning   Q quarantined   · not made"
    return card("Partitions", f"<div class='scroll'>{grid}</div>", key)


def _matrix_cell(p: PartitionQuality | None) -> str:
    if p is None:
        return "<td class='cell absent'>·</td>"
    mark, css = MARKS[p.status]
    if p.status == "published" and p.reasons:
        mark, css = "!", "warn"
    title = f"{p.rows:,} rows, {p.checks_passed} of {p.checks_passed + p.checks_failed} checks"
    if p.reasons:
        title += ": " + "; ".join(p.reasons)
    return f"<td class='cell {css}' title='{escape(title, quote=True)}'>{mark}</td>"


def _reasons(items: list[PartitionQuality]) -> str:
    shown = items[:20]
    lines = []
    for p in shown:
        label = badge(p.status, "bad") if p.status == "quarantined" else badge("warning", "warn")
        where = f"<b>{escape(p.asset)}</b> · {escape(p.symbol or 'all')} · {numbers.day(p.day)}"
        rows = f" · {p.bad_rows:,} bad rows" if p.bad_rows else ""
        lines.append(f'<div class="audit">{label} {where}{rows}<p>{escape("; ".join(p.reasons))}</p></div>')
    more = len(items) - len(shown)
    return "".join(lines) + (f'<p class="card-note">and {more:,} more</p>' if more else "")


def _signals(record: NightRecord) -> str:
    if not record.signals:
        return ""
    columns = (Column("slow signal"), Column(""), Column("rows", True), Column(""))
    rows = [
        Row(
            (
                escape(item.kind),
                badge("present", "good") if item.present else badge("absent", "quiet"),
                numbers.integer(item.rows) if item.present else numbers.ABSENT,
                escape(item.detail),
            )
        )
        for item in record.signals
    ]
    return card("Slow signals", table(columns, [Group("", rows)], "plain"))


def features(record: NightRecord) -> str:
    """Return one line a feature: distribution, missing share, moments; families in bodies of their own."""
    if not record.features:
        return section("features", "Features", absent("No feature row tonight."))
    columns = (
        Column("feature"),
        Column("unit"),
        Column("missing", True, True),
        Column("mean", True, True),
        Column("sd", True, True),
        Column("1 %", True),
        Column("median", True),
        Column("99 %", True),
        Column("distribution, 1 % to 99 %"),
        Column(term("PSI"), True, True),
        Column(term("drift, sd"), True, True),
    )
    families: dict[str, list[Row]] = {}
    for item in record.features:
        high = item.missing_share is not None and item.missing_share > 0.2
        missing = numbers.share(item.missing_share)
        families.setdefault(item.family, []).append(
            Row(
                (
                    f"<code>{escape(item.name)}</code>",
                    escape(item.unit),
                    f'<span class="unmet">{missing}</span>' if high else missing,
                    numbers.compact(item.mean),
                    numbers.compact(item.sd),
                    numbers.compact(item.p01),
                    numbers.compact(item.p50),
                    numbers.compact(item.p99),
                    charts.sparkbars(item.histogram),
                    _drift(item),
                    numbers.decimal(item.wasserstein_sd, 3),
                )
            )
        )
    groups = [Group(escape(family), rows) for family, rows in families.items()]
    holes = sum(1 for item in record.features if (item.missing_share or 0) > 0.2)
    many = f"{holes:,} of them missing in more than 20 %"
    lead = f"{len(record.features):,} raw features over the night's training rows; {many}.{_drifted(record)}"
    body = _labels(record) + label_forms(record) + table(columns, groups, "features")
    return section("features", "Features and labels", body, lead)


def _drift(item: FeatureSummary) -> str:
    shown = numbers.decimal(item.psi, 3)
    css = {"drifted": "unmet", "watch": "watch"}.get(item.drift)
    return f'<span class="{css}" title="{item.drift}">{shown}</span>' if css else shown


def _drifted(record: NightRecord) -> str:
    judged = [item for item in record.features if item.drift]
    if not judged:
        return ""
    count = sum(item.drift == "drifted" for item in judged)
    watched = sum(item.drift == "watch" for item in judged)
    return f" Against the sessions before, {count:,} drifted in the last one and {watched:,} are to be watched."


def _labels(record: NightRecord) -> str:
    if not record.labels:
        return ""
    rows = []
    for item in record.labels:
        total = item.down + item.flat + item.up + item.missing
        parts = (
            ("loss", item.down, "down"),
            ("flat", item.flat, "flat"),
            ("gain", item.up, "up"),
            ("none", item.missing, "none"),
        )
        bars = "".join(
            f'<i class="{css}" style="flex:{count}" title="{name}: {count:,}">{100 * count / total:.0f} %</i>'
            if count / total > 0.06
            else f'<i class="{css}" style="flex:{count}" title="{name}: {count:,}"></i>'
            for css, count, name in parts
            if total and count
        )
        rows.append(Row((escape(item.symbol), f'<div class="stack">{bars}</div>', f"{total:,}")))
    columns = (Column("labels"), Column("down · flat · up · not known"), Column("rows", True))
    return card("Label shares", table(columns, [Group("", rows)], "plain shares"))


def ablations(record: NightRecord) -> str:
    """Return the league with signal families added and taken away."""
    if not record.ablations:
        return ""
    columns = (
        Column("signals"),
        Column("model"),
        Column(term("MCC"), True),
        Column(term("log loss"), True),
        Column("net P&L", True),
    )
    rows = [
        Row(
            (
                _change(item),
                escape(item.model),
                numbers.decimal(item.mcc, 3, plus=True),
                numbers.decimal(item.log_loss, 4),
                numbers.coloured_money(item.net_pnl),
            )
        )
        for item in record.ablations
    ]
    return section("ablations", "What each slow signal adds", table(columns, [Group("", rows)], "plain"))


def _change(item: Ablation) -> str:
    words = {"none": "tape only", "all": "tape and every signal"}
    if item.change in words:
        return words[item.change]
    family = escape(item.family)
    return f"tape + {family}" if item.change == "added" else f"everything − {family}"


def machine(record: NightRecord) -> str:
    """Return rows through the stages and where the time went."""
    body = ""
    if record.stages:
        columns = (Column("stage"), Column("rows in", True), Column("rows out", True), Column(""))
        rows = [
            Row(
                (
                    escape(item.stage.replace("_", " ")),
                    numbers.integer(item.rows_in),
                    numbers.integer(item.rows_out),
                    escape(item.detail),
                )
            )
            for item in record.stages
        ]
        body += card("Rows through the night", table(columns, [Group("", rows)], "plain"))
    if record.timings:
        body += card("Where the time went", _timings(record))
    lead = ""
    if record.wall_s is not None:
        lead = f"Wall time {numbers.seconds(record.wall_s)}, peak memory {numbers.size(record.peak_memory_bytes)}."
    return section("machine", "The night itself", f'<div class="grid two">{body}</div>' if body else "", lead)


def _timings(record: NightRecord) -> str:
    longest = max((max(t.seconds, t.budget_s or 0.0) for t in record.timings), default=1.0) or 1.0
    rows = []
    for item in record.timings:
        over = item.budget_s is not None and item.seconds > item.budget_s
        budget = f'<u style="left:{100 * item.budget_s / longest:.1f}%"></u>' if item.budget_s else ""
        fill = f'<i class="{"over" if over else ""}" style="width:{100 * item.seconds / longest:.1f}%"></i>'
        bar = f'<div class="timebar">{fill}{budget}</div>'
        rows.append(Row((escape(item.part), bar, numbers.seconds(item.seconds), numbers.seconds(item.budget_s))))
    columns = (Column("part"), Column(""), Column("took", True), Column("budget", True))
    return table(columns, [Group("", rows)], "plain timings")
