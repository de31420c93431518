"""The parts of the page that say how sure: every headline figure with its interval, confidence sets, ROC curves, execution."""

from collections.abc import Sequence
from html import escape

from backtests.report import charts, curves, numbers
from backtests.report.html import Column, Group, Row, absent, card, section, table, term
from backtests.report.record import NightRecord
from backtests.report.record_evidence import Bounded, ModelFigures, SurfaceTable

IN_SET = 0.1
MONEY = ("net_pnl", "max_drawdown")
SHARES = ("winning_share", "positive_days", "accuracy", "balanced_accuracy")
EARNED = (
    ("net_pnl", "net P&L"),
    ("sharpe", "Sharpe"),
    ("max_drawdown", "max drawdown"),
    ("net_bps", "net bps"),
    ("winning_share", "trips that pay"),
    ("positive_days", "days that pay"),
)
"""What a model earns; a table of its own, because all figures with their intervals are wider than a page."""
FORESEEN = (
    ("mcc", "MCC"),
    ("accuracy", "accuracy"),
    ("balanced_accuracy", "balanced accuracy"),
    ("log_loss", "log loss"),
    ("auc_up", "AUC up"),
    ("auc_down", "AUC down"),
)
"""How well it forecasts."""
HEADINGS = {
    "net_pnl": term("net P&L"),
    "sharpe": term("Sharpe"),
    "max_drawdown": term("drawdown", "max drawdown"),
    "mcc": term("MCC"),
    "log_loss": term("log loss"),
}


def bounded(name: str, item: Bounded | None) -> str:
    """Return a figure with its interval below it."""
    if item is None or item.value is None:
        return numbers.ABSENT
    value = _plain(name, item.value)
    if item.low is None or item.high is None:
        return value
    low, high = _plain(name, item.low), _plain(name, item.high)
    return f'{value}<span class="row-note"><span>{low} …</span> <span>{high}</span></span>'


def _plain(name: str, value: float) -> str:
    if name in MONEY:
        return numbers.money(value, plus=name == "net_pnl")
    if name in SHARES:
        return numbers.share(value)
    return numbers.decimal(value, 2 if name == "net_bps" else 3, plus=name in ("net_bps", "sharpe", "mcc"))


def statistics(record: NightRecord) -> str:
    """Return every model's headline figures with their 95 % intervals and its place in the confidence sets."""
    found = record.statistics
    if found is None or not found.models:
        return ""
    earned = _figures("earned after costs", EARNED, [(item, item.net_p) for item in found.models])
    foreseen = _figures("foreseen", FORESEEN, [(item, item.loss_p) for item in found.models])
    blocks = ""
    if found.block_intervals and found.clock_ns and found.replications:
        minutes = found.block_intervals * found.clock_ns / 60e9
        blocks = f" {found.replications:,} replications of blocks of {minutes:,.0f} min on average, shared by all instruments."
    periods = sorted({numbers.span(m.sharpe_period_ns) for m in found.models if m.sharpe_period_ns})
    lead = (
        "Below each figure its 95 % interval by the stationary bootstrap of time blocks"
        f" (days that pay: exact binomial).{blocks} Sharpe ratios are per {escape(', '.join(periods))}. A model is in the 90 %"
        f" {term('confidence set')} unless its p-value is below 0.1: those in it cannot be told from the best by this data."
    )
    return section("statistics", "Every figure with its interval", earned + foreseen, lead)


def _figures(word: str, shown: Sequence[tuple[str, str]], models: Sequence[tuple[ModelFigures, float | None]]) -> str:
    """Return one table of figures with their intervals; the last column is the confidence set by the given p-values."""
    columns = [Column(f"model, {word}"), *(Column(HEADINGS.get(key, title), True) for key, title in shown)]
    columns.append(Column("in the set", True))
    groups = []
    for kind, heading in (("candidate", "Candidates"), ("baseline", "Baselines")):
        rows = [
            Row(
                (
                    f"<span class='model'>{escape(item.name)}</span>",
                    *(bounded(key, item.figures.get(key)) for key, _ in shown),
                    _inside(p_value),
                )
            )
            for item, p_value in models
            if item.kind == kind
        ]
        if rows:
            groups.append(Group(heading, rows, kind))
    return table(columns, groups, "plain statistics")


def _inside(p_value: float | None) -> str:
    if p_value is None:
        return numbers.ABSENT
    css, word = ("met", "yes") if p_value > IN_SET else ("unmet", "no")
    return (
        f'<span class="{css}">{word}</span><span class="row-note"><span>p {numbers.probability(p_value)}</span></span>'
    )


def roc_curves(record: NightRecord) -> str:
    """Return the ROC curves of every model that has one, candidates first."""
    models = record.statistics.models if record.statistics else ()
    cards = "".join(_roc(item) for item in sorted(models, key=lambda m: m.kind != "candidate") if item.roc_up.area)
    if not cards:
        return ""
    lead = (
        "How well a forecast ranks: the share of ups (downs) among the rows called first, against the share of the rest. "
        "The diagonal is chance."
    )
    return section("roc", "ROC", f'<div class="grid models">{cards}</div>', lead)


def _roc(item: ModelFigures) -> str:
    lines = [
        (css, curve.false_positive, curve.true_positive)
        for css, curve in (("down", item.roc_down), ("up", item.roc_up))
    ]
    note = f"area up {numbers.decimal(item.roc_up.area, 3)} · down {numbers.decimal(item.roc_down.area, 3)}"
    return card(escape(item.name), curves.roc(lines, label=f"ROC of {item.name}"), note, item.kind)


def execution(record: NightRecord, how: str = "pessimistic queue, stated latencies") -> str:
    """Return how the engine's orders were filled: slippage, markouts, latency; ``how`` says by which queue and latency."""
    found = record.execution
    if found is None:
        return ""
    if not found.fills:
        return section("execution", "Execution", absent(f"{escape(found.model)} was never filled in the engine."))
    slip = curves.counts(
        found.slippage_edges, found.slippage_counts, unit="bps", label="slippage of every fill in basis points"
    )
    marks = curves.points_with_intervals(
        [(_after(item.after_s), item.bps.value, item.bps.low, item.bps.high) for item in found.markouts],
        label="mean markout by time after the fill",
    )
    columns = (Column("leg"), *(Column(name, True) for name in ("count", "p50", "p90", "p99", "max")))
    rows = [
        Row(
            (
                escape(leg.leg),
                numbers.integer(leg.count),
                *(_time(value) for value in (leg.p50_us, leg.p90_us, leg.p99_us, leg.max_us)),
            )
        )
        for leg in found.latencies
    ]
    rate = bounded("accuracy", found.fill_rate)
    facts = (
        f"{numbers.integer(found.fills)} fills of {numbers.integer(found.orders)} orders, "
        f"{numbers.integer(found.maker_fills)} as maker; lots filled of lots sent: {rate}"
    )
    cards = (
        card("Slippage against the mid at the decision, bps", slip, f"mean {_interval(found.slippage_bps)} bps, a cost")
        + card(f"{term('markout', 'Markouts')}, bps", marks, "the mid so long after the fill against the price: a gain")
        + card("Where the time goes", table(columns, [Group("", rows)], "plain"), "as the backtest has it")
        + card("Fills", f"<p>{facts}</p>")
    )
    lead = f"{escape(found.model)} through the engine over all test sessions, {escape(how)}."
    return section("execution", "Execution", f'<div class="grid two">{cards}</div>', lead)


def _interval(item: Bounded) -> str:
    text = numbers.decimal(item.value, 3, plus=True)
    if item.low is None or item.high is None:
        return text
    return f"{text} ({numbers.decimal(item.low, 3, plus=True)} to {numbers.decimal(item.high, 3, plus=True)})"


def _after(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 60 else f"{seconds / 60:g} min"


def _time(micro: float) -> str:
    if micro < 1_000:
        return f"{micro:,.0f} µs"
    return f"{micro / 1e3:,.2f} ms" if micro < 1e6 else f"{micro / 1e6:,.1f} s"


def uplift(record: NightRecord) -> str:
    """Return what the forecasts saved when parents were worked: a plain TWAP against one that decides by them."""
    found = record.uplift
    if found is None or not found.rows:
        return ""
    names = (
        "algorithm",
        "shortfall, bps",
        "arrival, bps",
        "VWAP, bps",
        "filled",
        "as maker",
        "children",
        "shortfall",
        "fees",
    )
    rows = [
        Row(
            (
                f"<span class='model'>{escape(_algorithm(row.algorithm))}</span>",
                *(numbers.decimal(value, 3, plus=True) for value in (row.shortfall_bps, row.arrival_bps, row.vwap_bps)),
                numbers.share(row.fill_rate),
                numbers.share(row.maker_share),
                numbers.decimal(row.children, 1),
                numbers.money(row.shortfall),
                numbers.money(row.fees),
            )
        )
        for row in found.rows
    ]
    listed = table([Column(name, name != "algorithm") for name in names], [Group("", rows)], "plain statistics")
    first, second = (_algorithm(row.algorithm) for row in found.rows[:2])
    low, high, value = found.difference_bps.low, found.difference_bps.high, found.difference_bps.value
    verdict = "no difference shown"
    if value is not None and low is not None and high is not None and (low > 0 or high < 0):
        verdict = "the forecasts save that" if value < 0 else "the forecasts cost that"
    picture = curves.points_with_intervals(
        [(f"{second} − {first}", value, low, high)],
        label="difference of the shortfalls with its interval",
        height=150,
        width=1140,
    )
    said = f"{_interval(found.difference_bps)} bps of a parent's value: {verdict}"
    body = listed + card("Difference of the shortfalls, bps", picture, said)
    lead = (
        f"{found.parents:,} parents of {found.lots:,} lots over {found.minutes:g} minutes, {_sessions(found.sessions)}, each "
        f"worked alone by both on the same tape: a plain TWAP, and one that crosses the spread early where the forecasts of "
        f"{escape(found.model)} say that it pays. Below zero they save money. Paired block-bootstrap interval, 95 %."
    )
    return section("uplift", "What the forecasts save in execution", body, lead)


def _algorithm(name: str) -> str:
    return name.replace("_", " ").replace("twap", "TWAP")


def surfaces(record: NightRecord) -> str:
    """Return the night's sensitivity surfaces."""
    return surface_section(record.surfaces) if record.surfaces else ""


def surface_section(found: SurfaceTable) -> str:
    """Return one map a fee tier, size down and latency across, and the table of what each point could bear."""
    if not found.points:
        return ""
    by_place = {(p.size, p.latency, p.fees): p for p in found.points}
    cards = []
    for fee in found.fees:
        cells = [[by_place[s, k, fee].net_bps for k in found.latencies] for s in found.sizes]
        picture = charts.heatmap(
            [f"size ×{s:g}" for s in found.sizes],
            [f"latency ×{k:g}" for k in found.latencies],
            cells,
            label=f"net basis points a side by size and latency at fees times {fee:g}",
        )
        paid = f" ({found.fee_bps * fee:.2f} bps)" if found.fee_bps is not None else ""
        cards.append(card(f"Fees ×{fee:g}{paid}: net bps of turnover", picture))
    names = ("size", "latency", "fees", "net P&L", "net bps", "break-even bps", "round trips", "fills", "max drawdown")
    rows = [
        Row(
            (
                *(f"×{value:g}" for value in (p.size, p.latency, p.fees)),
                numbers.coloured_money(p.net),
                numbers.decimal(p.net_bps, 3, plus=True),
                numbers.decimal(p.break_even_bps, 3, plus=True),
                numbers.integer(p.round_trips),
                numbers.integer(p.fills),
                numbers.money(p.max_drawdown, plus=False),
            )
        )
        for p in found.points
    ]
    listed = table([Column(name, True) for name in names], [Group("", rows)], "plain")
    body = f'<div class="grid two">{"".join(cards)}</div><details class="card"><summary>All points</summary>{listed}</details>'
    lead = (
        f"{escape(found.model)} through the engine, pessimistic queue, {_sessions(found.sessions)}. Size multiplies the whole "
        "account; break-even is the fee of a side at which the same trades earn nothing."
    )
    return section("surfaces", "Sensitivity: size × latency × fees", body, lead)


def _sessions(days: Sequence[str]) -> str:
    return (
        f"session {escape(days[0])}"
        if len(days) == 1
        else f"{len(days)} sessions to {escape(days[-1])}"
        if days
        else ""
    )
