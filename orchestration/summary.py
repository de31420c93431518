"""The night on one terminal page: rows by stage, the league, the decision and why, the paper session, where the page is."""

from collections.abc import Mapping, Sequence
from datetime import date

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from backtests.report.control_words import gate_so_far
from backtests.report.record import NightRecord, PartitionQuality, load_record
from marketdata.clock import from_ns
from marketdata.paths import DataRoot
from orchestration.collect_data import partition_qualities
from orchestration.night import NightsResult
from orchestration.side_files import RECORD

ABSENT = "-"


def print_summary(root: DataRoot, result: NightsResult, console: Console) -> None:
    """Print one page about the last night that ran, and about everything that failed on the way."""
    record = None if result.last is None else _record(root, result.last)
    if record is not None:
        print_record(record, console)
    console.print()
    _print_costs(result, console)
    for failure in result.failures:
        console.print(f"[red]failed[/red]  {escape(str(failure))}", markup=True)
    if result.last is not None and root.report(result.last).exists():
        console.print(f"report  {root.report(result.last).resolve()}", markup=False)


def print_record(record: NightRecord, console: Console) -> None:
    """Print a night's record without what it cost."""
    console.print()
    console.print(f"[bold]{escape(record.status.headline)}[/bold]", markup=True)
    if record.status.reason:
        console.print(record.status.reason, markup=False)
    place = " · ".join(part for part in (record.source, record.world, f"night of {record.day}") if part)
    console.print(place, markup=False)
    for note in record.notes:
        console.print(f"note: {note}", markup=False)
    _print_stages(record, console)
    _print_league(record, console)
    _print_decision(record, console)
    _print_paper(record, console)


def print_quality(root: DataRoot, days: Sequence[date], console: Console) -> None:
    """Print how the audits of the sessions' partitions went: one line a stage, and every refusal with its reason."""
    settings = root.settings()
    found = [item for item in partition_qualities(root, settings, days) if item.asset != "dataset_day"]
    by_stage: dict[str, list[PartitionQuality]] = {}
    for item in found:
        by_stage.setdefault(item.asset, []).append(item)
    table = _table("stage", "published", "quarantined", "missing", "rows", "checks", "failed")
    for stage, items in by_stage.items():
        counts = [sum(item.status == status for item in items) for status in ("published", "quarantined", "missing")]
        rows = sum(item.rows for item in items if item.status == "published")
        checks = sum(item.checks_passed + item.checks_failed for item in items)
        failed = sum(item.checks_failed for item in items)
        table.add_row(stage, *(f"{value:,}" for value in (*counts, rows, checks, failed)))
    console.print(table)
    for item in found:
        if item.reasons:
            name = f"{item.asset} {item.day} {item.symbol or ''}".rstrip()
            console.print(f"{item.status}  {name}: {'; '.join(item.reasons)}", markup=False)


def _record(root: DataRoot, day: date) -> NightRecord | None:
    path = root.night(day) / RECORD
    return load_record(path) if path.exists() else None


def _print_stages(record: NightRecord, console: Console) -> None:
    table = _table("stage", "rows in", "rows out", "", left=(0, 3))
    for stage in record.stages:
        table.add_row(stage.stage, _count(stage.rows_in), _count(stage.rows_out), stage.detail)
    console.print(table)


def _print_league(record: NightRecord, console: Console) -> None:
    if not record.league:
        return
    table = _table(
        "model", "", "MCC", "bal. acc.", "log loss", "ECE", "net P&L", "bps/trip", "trips", "days +", left=(0, 1)
    )
    for row in record.league:
        style = "bold green" if row.is_winner else "" if row.kind == "candidate" else "dim"
        table.add_row(
            row.name,
            "winner" if row.is_winner else row.kind,
            _number(row.mcc, 3),
            _number(row.balanced_accuracy, 3),
            _number(row.log_loss, 4),
            _number(row.ece, 3),
            _number(row.net_pnl, 0),
            _number(row.net_bps, 2),
            _count(row.round_trips),
            _share(row.positive_days),
            style=style,
        )
    console.print(table)


def _print_decision(record: NightRecord, console: Console) -> None:
    card = record.decision
    if card is None:
        return
    verdict = "[green]promoted[/green]" if card.verdict == "promote" else "[yellow]refused[/yellow]"
    console.print(f"decision  {verdict}  {escape(card.reason)}", markup=True)
    if card.sentence:
        console.print(f"          {card.sentence}", markup=False)
    worst = [test for test in card.tests if test.p_value is not None]
    if worst:
        shown = "  ".join(f"{test.benchmark} ({test.measure}) {test.p_value:.3f}" for test in worst)
        console.print(f"          p over all candidates, {card.p_threshold} needed: {shown}", markup=False)
    for control in record.controls:
        if control.runs == 0 and control.world != "n0":
            continue
        strength = f" at {control.strength:+g}" if control.strength is not None else ""
        rate = f"{control.promoted}/{control.runs} tonight" if control.runs else "none tonight"
        total = f", {control.promoted_total}/{control.runs_total} in all" if control.runs_total else ""
        if control.bound_low is not None and control.bound_high is not None:
            total += f" ({control.bound_low:.1%} to {control.bound_high:.1%})"
        console.print(f"control   {control.world}{strength}: promoted {rate}{total}", markup=False)
    if sentence := gate_so_far(record.controls):
        console.print(f"          {sentence}", markup=False)


def _print_paper(record: NightRecord, console: Console) -> None:
    paper = record.paper
    if paper is None:
        return
    who = paper.model if paper.mode == "champion" else f"{paper.model} in the SHADOW (not champion P&L)"
    console.print(
        f"paper     {paper.day}  {who}: net {paper.net_pnl:+,.2f} {record.currency}, fees {paper.fees:,.2f}, "
        f"{paper.orders:,} orders, {paper.fills:,} fills, {paper.round_trips:,} round trips, "
        f"{paper.refused_by_risk:,} refused by risk, risk state {paper.risk_state}",
        markup=False,
    )
    for event in paper.risk_events[:5]:
        console.print(
            f"          {from_ns(event.ts_ns):%H:%M:%S} {event.kind} {event.symbol} {event.detail}", markup=False
        )
    if record.parity:
        same = all(check.passed for check in record.parity)
        compared = ", ".join(f"{check.name} ({check.compared:,})" for check in record.parity)
        console.print(
            f"parity    {'[green]equal[/green]' if same else '[red]DIFFERENT[/red]'}: {escape(compared)}", markup=True
        )


def _print_costs(result: NightsResult, console: Console) -> None:
    console.print(f"time      {result.wall_s:.0f} s: {_split(result.seconds)}", markup=False)
    if result.beside:
        console.print(f"          beside it: {_split(result.beside)}", markup=False)
    console.print(f"memory    {result.peak_memory_bytes / 2**30:.2f} GiB at the peak", markup=False)


def _split(seconds: Mapping[str, float]) -> str:
    parts = sorted(seconds.items(), key=lambda item: -item[1])
    return "  ".join(f"{name} {spent:.0f}" for name, spent in parts if spent >= 0.5)


def _table(*columns: str, left: Sequence[int] = (0,)) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place in left else "right", no_wrap=True)
    return table


def _number(value: float | None, digits: int) -> str:
    return ABSENT if value is None else f"{value:,.{digits}f}"


def _count(value: int | None) -> str:
    return ABSENT if value is None else f"{value:,}"


def _share(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.0%}"
