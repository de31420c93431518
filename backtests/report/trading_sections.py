"""The parts of the page about money: equity, drawdown, histogram, hours, the engine's band, paper session, parity."""

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from zoneinfo import ZoneInfo

from backtests.report import charts, numbers
from backtests.report.html import (
    Column,
    Group,
    Row,
    absent,
    badge,
    card,
    legend,
    section,
    table,
    term,
    tick,
    tile,
    tiles,
)
from backtests.report.record import BandRow, Evidence, NightRecord, PaperSession, PnlCurve
from marketdata.clock import from_ns


def cumulative(values: Sequence[float]) -> list[float]:
    """Return the running sum."""
    total, out = 0.0, []
    for value in values:
        total += value
        out.append(total)
    return out


def drawdown(equity: Sequence[float]) -> list[float]:
    """Return the distance below the highest value so far (0 or less), the start at 0 counted."""
    peak, out = 0.0, []
    for value in equity:
        peak = max(peak, value)
        out.append(value - peak)
    return out


def hourly(
    evidence: Evidence, net: Sequence[float], zone: str
) -> tuple[list[str], list[str], list[list[float | None]]]:
    """Return (days, hours, sums of net P&L by day and local hour; None where the clock has no interval)."""
    local_zone = ZoneInfo(zone)
    sums: dict[tuple[str, int], float] = {}
    days: list[str] = []
    for ts, value in zip(evidence.ts_ns, net, strict=True):
        local = from_ns(ts - 1).astimezone(local_zone)
        name = f"{local.day} {local:%b}"
        if name not in days:
            days.append(name)
        sums[name, local.hour] = sums.get((name, local.hour), 0.0) + value
    hours = sorted({hour for _, hour in sums})
    return days, [f"{hour:02d}h" for hour in hours], [[sums.get((name, hour)) for hour in hours] for name in days]


def styles(curves: Sequence[PnlCurve], shown: str | None) -> dict[str, str]:
    """Return a CSS class for each curve: the one shown first, other candidates in order, baselines all alike."""
    names = [c.name for c in curves if c.kind == "candidate"]
    names.sort(key=lambda name: name != shown)
    found = {name: f"series-{min(k, 6)}" for k, name in enumerate(names)}
    return {c.name: found.get(c.name, "baseline") for c in curves}


def evidence(record: NightRecord) -> str:
    """Return equity of all models, and drawdown, histogram and hours of the one shown."""
    found = record.evidence
    if not found.curves or not found.ts_ns:
        return section("pnl", "Profit and loss", absent("No walk-forward P&L tonight."))
    css = styles(found.curves, found.shown)
    equities = {c.name: cumulative(c.net) for c in found.curves}
    lines = [charts.Line(c.name, equities[c.name], css[c.name], c.name == found.shown) for c in found.curves]
    marks, hover = _clock(found.ts_ns, record.time_zone)

    def equity_chart(width: int, height: int, points: int) -> str:
        label = "net P&L of every model over the test days"
        return charts.line_chart(lines, marks, hover, width=width, height=height, label=label, points=points)

    keys = [(css[c.name], c.name) for c in sorted(found.curves, key=lambda c: css[c.name]) if c.kind == "candidate"]
    if any(c.kind == "baseline" for c in found.curves):
        keys.append(("baseline", "baselines"))
    top = card(
        f"Equity over the test days, after fees ({escape(record.currency)})",
        legend(keys) + both_widths(equity_chart(1140, 320, 420), equity_chart(520, 300, 240)),
    )
    shown = next((c for c in found.curves if c.name == found.shown), found.curves[0])
    falls = drawdown(equities[shown.name])
    drop = charts.line_chart(
        [charts.Line("drawdown", falls, "falling")], marks, hover, label="drawdown", fill=True, height=230
    )
    worst = min(falls)
    if worst == 0:
        drop = charts.empty_chart(560, 230, "never below its highest value")
    relative = f" ({numbers.share(-worst / found.capital)} of capital)" if found.capital else ""
    trips = charts.histogram(found.round_trips, label="net P&L of round trips", height=230)
    hits = sum(v > 0 for v in found.round_trips)
    rate = (
        f"{numbers.share(hits / len(found.round_trips))} of {len(found.round_trips):,} pay" if found.round_trips else ""
    )
    days, hours, cells = hourly(found, shown.net, record.time_zone)
    days, cells = days[-12:], cells[-12:]
    heat = charts.heatmap(days, hours, cells, label="net P&L by day and hour")
    name = escape(shown.name)
    below = (
        card(f"{term('drawdown', 'Drawdown')}, {name}", drop, f"deepest {numbers.money(worst)}{relative}")
        + card(f"P&L of {term('round trip', 'round trips')}, {name}", trips, rate)
        + card(f"By hour ({escape(record.time_zone)}), {name}", heat)
        + _band(record)
    )
    return section("pnl", "Profit and loss", f'{top}<div class="grid two">{below}</div>')


def both_widths(wide: str, narrow: str) -> str:
    """Return two drawings of one chart, of which the page shows the one that fits."""
    return f'<div class="wide-only">{wide}</div><div class="narrow-only">{narrow}</div>'


def _clock(ts_ns: Sequence[int], zone: str) -> tuple[list[charts.Mark], list[str]]:
    """Return axis marks (a rule at each new local day, or hours within one day) and the cross-hair's words."""
    local_zone = ZoneInfo(zone)
    local = [from_ns(ts - 1).astimezone(local_zone) for ts in ts_ns]
    hover = [f"{t.day} {t:%b %H:%M}" for t in local]
    days = [k for k in range(len(local)) if k == 0 or local[k].date() != local[k - 1].date()]
    if len(days) > 1:
        every = -(-len(days) // 8)
        return [
            charts.Mark(k, f"{local[k].day} {local[k]:%b}" if n % every == 0 else "", n > 0) for n, k in enumerate(days)
        ], hover
    hours = [k for k in range(1, len(local)) if local[k].hour != local[k - 1].hour]
    every = -(-len(hours) // 8) or 1
    return [charts.Mark(k, f"{local[k]:%H}:00") for k in hours[::every]], hover


def merged_band(rows: Sequence[BandRow]) -> list[BandRow]:
    """Return the rows of a band with queue models that gave the same at a latency in one: nothing ever queued there."""
    found: list[BandRow] = []
    for row in rows:
        last = found[-1] if found else None
        if last is not None and replace(row, queue_model="", role="") == replace(last, queue_model="", role=""):
            found[-1] = replace(last, queue_model="every queue model", role=last.role or row.role)
        else:
            found.append(row)
    return found


def _band(record: NightRecord) -> str:
    if not record.band:
        return card(f"The engine's {term('band')}", absent("Not run: nothing to trade tonight."))
    columns = (
        Column("queue model"),
        Column("latency"),
        Column("net P&L", True),
        Column("fees", True),
        Column("fills", True),
        Column("max drawdown", True),
    )
    rows = [
        Row(
            (
                escape(row.queue_model) + (f" {badge(row.role, 'quiet')}" if row.role else ""),
                escape(row.latency),
                numbers.coloured_money(row.net_pnl),
                numbers.money(row.fees, plus=False),
                numbers.integer(row.fills),
                numbers.money(row.max_drawdown, plus=False),
            ),
            "decides" if row.role == "pessimistic" else "",
        )
        for row in merged_band(record.band)
    ]
    note = "Orders, queues, latencies and fees in full. The pessimistic row decides."
    return card(f"The engine's {term('band')}", table(columns, [Group("", rows)], "plain"), note)


def paper(record: NightRecord) -> str:
    """Return the paper session; a shadow session says so before anything else."""
    found = record.paper
    if found is None:
        return section("paper", "Paper session", absent("No session was traded on paper."))
    shadow = found.mode == "shadow"
    word = "SHADOW" if shadow else "PAPER"
    meaning = (
        "best candidate, not a champion: this P&amp;L counts for nothing"
        if shadow
        else "simulated venue, no real order"
    )
    banner = f'<div class="mode {found.mode}">{word}<span>{meaning}</span></div>'
    row = tiles(
        [
            tile("net P&L", numbers.coloured_money(found.net_pnl), f"fees {numbers.money(found.fees, plus=False)}"),
            tile("fills", numbers.integer(found.fills), f"of {numbers.integer(found.orders)} orders"),
            tile("round trips", numbers.integer(found.round_trips), f"{numbers.integer(found.forecasts)} forecasts"),
            tile(
                "max drawdown", numbers.money(found.max_drawdown, plus=False), f"risk state {escape(found.risk_state)}"
            ),
            tile("refused by risk", numbers.integer(found.refused_by_risk), f"{len(found.risk_events):,} risk events"),
            tile("one forecast", _micro(found.forecast_p50_us), f"p99 {_micro(found.forecast_p99_us)}"),
        ]
    )
    body = banner + row
    if found.ts_ns:
        marks, hover = _clock(found.ts_ns, record.time_zone)
        line = [charts.Line(f"{found.model} ({found.mode})", found.equity, "series-0", True)]

        def chart(width: int, height: int) -> str:
            return charts.line_chart(
                line, marks, hover, width=width, height=height, label="equity of the paper session"
            )

        body += card(f"Net P&L since the open, {escape(found.model)}", both_widths(chart(1140, 240), chart(520, 260)))
    body += f'<div class="grid two">{_instruments(found)}{_risk(found, record.time_zone)}</div>'
    title = f"Paper session of {numbers.day(found.day)}"
    lead = escape(found.note) if found.note else "Simulated after the decision was recorded, traded event by event."
    return section("paper", title, body, lead)


def _micro(value: float | None) -> str:
    return numbers.ABSENT if value is None else f"{value:,.0f} µs"


def _instruments(found: PaperSession) -> str:
    columns = (
        Column("instrument"),
        Column("fills", True),
        Column("bought", True),
        Column("sold", True),
        Column("left", True),
        Column("fees", True),
        Column("net P&L", True),
    )
    rows = [
        Row(
            (
                escape(item.symbol),
                numbers.integer(item.fills),
                numbers.integer(item.bought_lots),
                numbers.integer(item.sold_lots),
                numbers.integer(item.end_position_lots),
                numbers.money(item.fees, plus=False),
                numbers.coloured_money(item.net_pnl),
            )
        )
        for item in found.instruments
    ]
    return card("By instrument", table(columns, [Group("", rows)], "plain") if rows else absent("Nothing was traded."))


def _risk(found: PaperSession, zone: str) -> str:
    if not found.risk_events:
        return card("Risk events", absent("None."))
    shown = found.risk_events[:12]
    columns = (Column("time"), Column("event"), Column("instrument"), Column("detail"))
    rows = [
        Row(
            (
                numbers.moment(item.ts_ns, zone, with_date=False),
                escape(item.kind),
                escape(item.symbol) or numbers.ABSENT,
                escape(item.detail),
            )
        )
        for item in shown
    ]
    more = len(found.risk_events) - len(shown)
    return card("Risk events", table(columns, [Group("", rows)], "plain"), f"and {more:,} more" if more else "")


def parity(record: NightRecord) -> str:
    """Return the comparisons between the executor and the offline path."""
    if not record.parity:
        return ""
    columns = (
        Column(""),
        Column("what is equal, bit for bit"),
        Column("compared", True),
        Column("different", True),
        Column(""),
    )
    rows = [
        Row(
            (
                tick(item.passed),
                escape(item.name),
                numbers.integer(item.compared),
                numbers.integer(item.different),
                escape(item.detail),
            ),
            "" if item.passed else "unmet",
        )
        for item in record.parity
    ]
    return section(
        "parity",
        term("parity", "Parity"),
        table(columns, [Group("", rows)], "plain"),
        "One path for the night and for live.",
    )
