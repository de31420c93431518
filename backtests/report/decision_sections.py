"""The parts of the page about belief: status, decision, league, controls, diagnosis of each model."""

from html import escape

from backtests.report import charts, numbers
from backtests.report.control_words import gate_so_far
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
from backtests.report.record import ControlRow, DecisionCard, Diagnosis, LeagueRow, NightRecord, Requirement

STATUS_WORDS = {
    "champion": ("Champion", "good"),
    "shadow": ("Shadow only", "warn"),
    "refused": ("No champion", "warn"),
    "no_training": ("Not trained", "bad"),
}
WORLD_WORDS = {
    "n0": ("N0", "forecasts shifted in time on tonight's tape"),
    "n1": ("N1", "a market where nothing pays"),
    "n2": ("N2", "slow signals that know nothing"),
    "planted": ("planted", "an informed trader whose oracle nets this much a round trip"),
}
CLASSES = ("down", "flat", "up")


def status_line(record: NightRecord) -> str:
    """Return the first line of the page: champion, shadow or refused, and why (R17)."""
    status = record.status
    word, css = STATUS_WORDS[status.kind]
    reason = f'<p class="status-reason">{escape(status.reason)}</p>' if status.reason else ""
    facts = []
    if status.model:
        facts.append(f"model <b>{escape(status.model)}</b>")
    if status.bundle_sha256:
        facts.append(f"bundle {numbers.digest(status.bundle_sha256)}")
    if status.since:
        facts.append(f"in force from {numbers.day(status.since)}")
    line = f'<p class="status-facts">{" · ".join(facts)}</p>' if facts else ""
    return (
        f'<div class="status {css}" role="status">{badge(word, css)}'
        f'<div class="status-body"><p class="status-headline">{escape(status.headline)}</p>{reason}{line}</div></div>'
    )


def decision(record: NightRecord) -> str:
    """Return the decision with its necessary conditions, tests and signature."""
    found = record.decision
    if found is None:
        return section("decision", "Decision", absent("No decision was taken tonight."))
    promoted = found.verdict == "promote"
    verdict = badge("promoted" if promoted else "refused", "good" if promoted else "warn")
    sentence = escape(found.sentence or found.reason)
    before, after = (escape(name or "nobody") for name in (found.champion_before, found.champion_after))
    change = f"{before} → <b>{after}</b>" if before != after else f"<b>{after}</b> as before"
    head = (
        f'<div class="verdict">{verdict}<div><p class="verdict-line">{sentence}</p>'
        f'<p class="muted"><code>{escape(found.reason)}</code> · champion {change}'
        f"{' · from ' + numbers.day(found.effective_from) if found.effective_from else ''}</p></div></div>"
    )
    left = card("What the gate asks for", _requirements(found.requirements), _missing(found))
    right = card(
        f"One test for the night ({term('SPA')})",
        _tests(found),
        "Every p-value has to be below "
        f"{numbers.probability(found.p_threshold)}: all candidates together against cash and against every baseline.",
    )
    numbers_row = tiles(
        [
            tile(
                term("Sharpe"),
                numbers.decimal(found.sharpe, 3, plus=True),
                f"± {numbers.decimal(found.sharpe_error, 3)} per {escape(found.sharpe_period)}"
                if found.sharpe_period
                else "",
            ),
            tile(term("PSR"), numbers.probability(found.psr), "against zero"),
            tile(
                term("DSR"),
                numbers.probability(found.dsr),
                f"effective trials: {numbers.probability(found.dsr_effective)}"
                if found.dsr_effective is not None
                else "",
            ),
            tile(
                term("trials"),
                numbers.integer(found.trials),
                f"effective {numbers.decimal(found.trials_effective, 1)}" if found.trials_effective is not None else "",
            ),
            tile(term("PBO"), numbers.probability(found.pbo), escape(found.pbo_note)),
        ]
    )
    seal = (
        f'<p class="seal">record {numbers.digest(found.record_hash, 16)}'
        f" after {numbers.digest(found.previous_hash, 16)}"
        f" · key {numbers.digest(found.signed_by, 16)} · gate <code>{escape(found.gate_version or '–')}</code>"
        f" · approved by {escape(found.approved_by)} · {numbers.moment(found.decided_ns, record.time_zone)}</p>"
    )
    return section("decision", "Decision", f'{head}<div class="grid two">{left}{right}</div>{numbers_row}{seal}')


def _requirements(items: tuple[Requirement, ...]) -> str:
    rows = [
        Row((tick(item.met), escape(item.name), escape(item.found), escape(item.needed)), "" if item.met else "unmet")
        for item in items
    ]
    columns = (Column(""), Column("condition"), Column("found", numeric=True), Column("needed", numeric=True))
    return table(columns, [Group("", rows)], "plain") if rows else absent("Not judged.")


def _missing(found: DecisionCard) -> str:
    if not found.missing_instruments:
        return ""
    parts = [f"{escape(symbol)} ({escape(reason)})" for symbol, reason in sorted(found.missing_instruments.items())]
    return f"Without {', '.join(parts)}: their cross features are empty and the graph leaves them out."


def _tests(found: DecisionCard) -> str:
    benchmarks: dict[str, dict[str, str]] = {}
    for test in found.tests:
        met = test.p_value is not None and found.p_threshold is not None and test.p_value < found.p_threshold
        text = f'<span class="{"met" if met else "unmet"}">{numbers.probability(test.p_value)}</span>'
        if test.best:
            text += f'<span class="best">{escape(test.best)}</span>'
        benchmarks.setdefault(test.benchmark, {})[test.measure] = text
    rows = [
        Row((escape(name), cells.get("net_pnl", numbers.ABSENT), cells.get("loss", numbers.ABSENT)))
        for name, cells in benchmarks.items()
    ]
    columns = (Column("against"), Column(f"p, {term('net P&L')}", True), Column(f"p, {term('log loss')}", True))
    return table(columns, [Group("", rows)], "plain") if rows else absent("Not computed.")


def league(record: NightRecord) -> str:
    """Return the league table, baselines in a body of their own below the candidates."""
    if not record.league:
        return section("league", "League table", absent("No model was scored tonight."))
    known = [abs(v) for row in record.league for v in row.fold_net if v is not None]
    most = max(known, default=1.0)
    columns = (
        Column("model"),
        Column(term("MCC"), True, True),
        Column(term("balanced accuracy", "bal. acc."), True, True),
        Column(term("macro-F1"), True, True),
        Column(term("log loss"), True, True),
        Column(term("ECE"), True, True),
        Column(term("net P&L"), True, True),
        Column(term("net bps", "net bps / trip"), True, True),
        Column(term("round trip", "round trips"), True, True),
        Column("days > 0", True, True),
        Column("net by fold"),
    )
    best = _best(record.league)
    groups = [
        Group(heading, [_league_row(row, most, best) for row in record.league if row.kind == kind], kind)
        for kind, heading in (("candidate", "Candidates"), ("baseline", f"{term('baseline', 'Baselines')} to beat"))
    ]
    groups = [group for group in groups if group.rows]
    return section(
        "league",
        "League table",
        table(columns, groups, "league"),
        f"{term('walk-forward', 'Walk-forward')} over {len(record.test_days)} test "
        f"{'day' if len(record.test_days) == 1 else 'days'}, {escape(', '.join(record.instruments))}, horizon "
        f"{numbers.span(record.horizon_ns)}. The best value of a column is bold.",
    )


def _best(rows: tuple[LeagueRow, ...]) -> dict[str, float]:
    best: dict[str, float] = {}
    for name, larger in (
        ("mcc", True),
        ("balanced_accuracy", True),
        ("macro_f1", True),
        ("log_loss", False),
        ("ece", False),
        ("net_pnl", True),
        ("net_bps", True),
        ("positive_days", True),
    ):
        values = [value for row in rows if numbers.is_known(value := getattr(row, name))]
        if values:
            best[name] = max(values) if larger else min(values)
    return best


def _league_row(row: LeagueRow, most: float, best: dict[str, float]) -> Row:
    def cell(name: str, text: str) -> str:
        value = getattr(row, name)
        return f"<b>{text}</b>" if name in best and value == best[name] else text

    crown = ' <span class="crown" title="the night’s winner">★</span>' if row.is_winner else ""
    note = f'<span class="row-note">{escape(row.note)}</span>' if row.note else ""
    return Row(
        (
            f"<span class='model'>{escape(row.name)}</span>{crown}{note}",
            cell("mcc", numbers.decimal(row.mcc, 3, plus=True)),
            cell("balanced_accuracy", numbers.decimal(row.balanced_accuracy, 3)),
            cell("macro_f1", numbers.decimal(row.macro_f1, 3)),
            cell("log_loss", numbers.decimal(row.log_loss, 4)),
            cell("ece", numbers.decimal(row.ece, 3)),
            cell("net_pnl", numbers.coloured_money(row.net_pnl)),
            cell("net_bps", numbers.decimal(row.net_bps, 2, plus=True)),
            numbers.integer(row.round_trips),
            cell("positive_days", numbers.share(row.positive_days, 0)),
            charts.fold_bars(row.fold_net, most),
        ),
        "winner" if row.is_winner else "",
    )


def controls(record: NightRecord) -> str:
    """Return null and planted worlds in one table: the gate has to stay shut in the one and open in the other."""
    if not record.controls:
        return section("controls", "Controls", absent("No control world has been run on this root yet."))
    columns = (
        Column("world"),
        Column("the gate should"),
        Column("tonight", True),
        Column("all runs", True),
        Column("rate", True),
        Column("interval of the rate, 0 … 1"),
    )
    groups = []
    for expects, heading in (
        ("refuse", "Nothing here pays, or not more than its cost: every promotion is a mistake"),
        ("promote", "This pays"),
    ):
        rows = [_control_row(row) for row in record.controls if row.expects == expects]
        if rows:
            groups.append(Group(heading, rows))
    return section(
        "controls",
        "Controls: null and planted worlds",
        table(columns, groups, "plain controls"),
        f"{_so_far(record)}The measured {term('gate size')} beside its power. Rates are over all runs of this version of the "
        "gate, with an exact binomial interval; the shaded half is where the dot should be.",
    )


def _so_far(record: NightRecord) -> str:
    sentence = gate_so_far(record.controls)
    return f"<b>{escape(sentence[0].upper() + sentence[1:])}.</b> " if sentence else ""


def _control_row(row: ControlRow) -> Row:
    word, meaning = WORLD_WORDS[row.world]
    strength = f" {numbers.decimal(row.strength, 2, plus=True)} spreads" if row.strength is not None else ""
    rate = row.promoted_total / row.runs_total if row.runs_total else None
    note = f'<span class="row-note">{escape(row.note or meaning)}</span>'
    return Row(
        (
            f"{term(word)}{strength}{note}",
            escape(row.expects),
            f"{row.promoted:,} of {row.runs:,}" if row.runs else numbers.ABSENT,
            f"{row.promoted_total:,} of {row.runs_total:,}" if row.runs_total else numbers.ABSENT,
            numbers.share(rate),
            charts.rate_interval(rate, row.bound_low, row.bound_high, row.expects),
        )
    )


def diagnoses(record: NightRecord) -> str:
    """Return calibration and confusion of every model, candidates first."""
    if not record.diagnoses:
        return ""
    ordered = sorted(record.diagnoses, key=lambda item: item.kind != "candidate")
    cards = "".join(_diagnosis(item) for item in ordered)
    key = legend([("up", "up"), ("down", "down")])
    return section(
        "diagnosis",
        "Calibration and confusion",
        f'{key}<div class="grid models">{cards}</div>',
        "Left: how often it happened against the probability that was forecast (dot size: share of rows). Right: what "
        "happened (rows) against what was called (columns), in per cent of the row.",
    )


def _diagnosis(item: Diagnosis) -> str:
    curves = [
        ("down", [(p.predicted, p.observed, p.count) for p in item.down]),
        ("up", [(p.predicted, p.observed, p.count) for p in item.up]),
    ]
    picture = charts.calibration(curves, size=180, label=f"calibration of {item.name}")
    head = "".join(f"<th scope='col'>{name}</th>" for name in CLASSES)
    lines = []
    for name, counts in zip(CLASSES, item.confusion, strict=False):
        total = sum(counts) or 1
        cells = "".join(
            f'<td style="--w:{count / total:.3f}" title="{count:,} rows" '
            f'class="{"deep" if count / total > 0.55 else ""}">{100 * count / total:.0f}</td>'
            for count in counts
        )
        lines.append(f"<tr><th scope='row'>{name}</th>{cells}</tr>")
    top = f"<thead><tr><th></th>{head}</tr></thead>"
    grid = f"<table class='confusion'>{top}<tbody>{''.join(lines)}</tbody></table>"
    title = f"{escape(item.name)} {badge('baseline', 'quiet') if item.kind == 'baseline' else ''}"
    note = f"{term('ECE')} {numbers.decimal(item.ece, 3)} · {sum(map(sum, item.confusion)):,} rows"
    return card(title, f'<div class="pair">{picture}{grid}</div>', note, item.kind)
