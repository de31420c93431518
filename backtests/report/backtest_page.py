"""The page of one backtest: equity, drawdown, round trips, hours, the points of the band, and how orders were filled."""

from collections.abc import Mapping
from datetime import date
from html import escape
from typing import Any

import msgspec

from backtests.report import evidence_sections, numbers, trading_sections
from backtests.report.html import Column, Group, Row, section, table, tile, tiles
from backtests.report.record import BandRow, Evidence, Execution, NightRecord, PnlCurve, Status
from backtests.report.study_pages import study_page

SHOWN = (
    ("net_pnl", "net P&L"),
    ("fees", "fees"),
    ("max_drawdown", "max drawdown"),
    ("orders", "orders"),
    ("fills", "fills"),
    ("maker_fills", "as maker"),
    ("round_trips", "round trips"),
    ("winning_share", "trips that pay"),
    ("fill_rate", "lots filled"),
    ("refused_by_risk", "refused by risk"),
)
"""Columns of the table of sessions."""


def backtest_record(made: Mapping[str, Any], time_zone: str) -> NightRecord:
    """Return a backtest (``orchestration.backtesting.backtest_model``) as a record: drawn and exported as a night is."""
    detail = made["detail"]
    name = f"{made['model']} through {made['strategy']}"
    points = made["points"]
    worst = min(points, key=lambda point: point["net"])
    return NightRecord(
        day=date.fromisoformat(made["night"]),
        source="backtest",
        status=Status(kind="refused", headline=name),
        time_zone=time_zone,
        evidence=Evidence(
            ts_ns=tuple(detail["clock_ns"]),
            curves=(PnlCurve(name=name, kind="candidate", net=tuple(detail["pnl"])),),
            shown=name,
            round_trips=tuple(detail["round_trips"]),
        ),
        band=tuple(BandRow.of(point, "pessimistic" if point is worst and len(points) > 1 else "") for point in points),
        execution=msgspec.convert({"model": name, **detail["execution"]}, Execution),
    )


def backtest_page(made: Mapping[str, Any], time_zone: str) -> str:
    """Return one self-contained page of a backtest."""
    record, detail = backtest_record(made, time_zone), made["detail"]
    period = numbers.span(detail["sharpe_period_ns"])
    bps = 1e4 * detail["net"] / detail["turnover"] if detail["turnover"] else None
    head = tiles(
        [
            tile(
                "net P&amp;L",
                numbers.coloured_money(detail["net"]),
                f"fees {numbers.money(detail['fees'], plus=False)}",
            ),
            tile(
                f"Sharpe per {escape(period)}",
                numbers.decimal(detail["sharpe"], 3, plus=True),
                f"± {numbers.decimal(detail['sharpe_error'], 3)}",
            ),
            tile("max drawdown", numbers.money(detail["max_drawdown"], plus=False), "on the clock, over all sessions"),
            tile(
                "net bps a side", numbers.decimal(bps, 3, plus=True), f"of {numbers.compact(detail['turnover'])} traded"
            ),
            tile(
                "band",
                f"{numbers.money(made['pessimistic'])} … {numbers.money(made['optimistic'])}",
                f"{len(made['points'])} points, median {numbers.money(made['median'])}",
            ),
        ]
    )
    rows = [Row([escape(one["date"]), *(_cell(name, one[name]) for name, _ in SHOWN)]) for one in detail["sessions"]]
    columns = [Column("session"), *(Column(title, True) for _, title in SHOWN)]
    warned = "".join(f'<div class="notice">{escape(text)}</div>' for text in detail["warnings"])
    how = f"{detail['queue_model'].replace('_', ' ')} queue, latency ×{detail['latency_scale']:g}"
    body = (
        head
        + warned
        + section(
            "sessions", "Sessions", table(columns, [Group("", rows)], "plain"), f"Equity, sessions and fills: {how}."
        )
    )
    body += trading_sections.evidence(record) + evidence_sections.execution(record, how)
    told = [f"night {made['night']}", f"{len(made['sessions'])} test sessions", *made["parameters"], *made["changes"]]
    return study_page(f"Backtest of {made['model']} through {made['strategy']}", " · ".join(told), body)


def _cell(name: str, value: Any) -> str:
    if name == "net_pnl":
        return numbers.coloured_money(value)
    if name in ("fees", "max_drawdown"):
        return numbers.money(value, plus=False)
    return numbers.share(value) if name in ("winning_share", "fill_rate") else numbers.integer(value)
