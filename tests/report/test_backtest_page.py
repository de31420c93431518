"""The page of a backtest: drawn like a night's parts, without the network, with nothing from outside as markup."""

from typing import Any

from backtests.report.backtest_page import backtest_page, backtest_record
from backtests.report.export import night_tables

INTERVAL = {"value": 0.5, "low": 0.1, "high": 0.9}
SESSION = {
    "date": "2026-01-06",
    "net_pnl": -3.5,
    "gross_pnl": 1.0,
    "fees": 4.5,
    "max_drawdown": 6.0,
    "orders": 12,
    "fills": 10,
    "maker_fills": 4,
    "round_trips": 5,
    "winning_share": 0.4,
    "fill_rate": 0.8,
    "slippage_units": 0.1,
    "refused_by_risk": 2,
    "kelly_cap_share": None,
    "worst_ladder": "normal",
}


def _made(**changes: Any) -> dict[str, Any]:
    point = {
        "queue_model": "risk_averse",
        "latency_scale": 1.0,
        "net": -3.5,
        "fees": 4.5,
        "fills": 10,
        "round_trips": 5,
        "max_drawdown": 6.0,
    }
    detail = {
        "queue_model": "log",
        "latency_scale": 1.0,
        "sessions": [SESSION],
        "net": -3.5,
        "fees": 4.5,
        "turnover": 70_000.0,
        "max_drawdown": 6.0,
        "sharpe": -0.02,
        "sharpe_error": 0.05,
        "sharpe_period_ns": 60_000_000_000,
        "warnings": ["sizes <b>do not</b> follow"],
        "clock_ns": [60_000_000_000, 120_000_000_000, 180_000_000_000],
        "pnl": [1.0, -6.0, 1.5],
        "round_trips": [1.0, -2.0, 0.5, -3.0, 0.0],
        "execution": {
            "orders": 12,
            "fills": 10,
            "maker_fills": 4,
            "slippage_bps": INTERVAL,
            "slippage_edges": [0.0, 0.5, 1.0],
            "slippage_counts": [4, 6],
            "fill_rate": INTERVAL,
            "markouts": [{"after_s": 1.0, "bps": INTERVAL}],
            "latencies": [{"leg": "decision", "count": 12, "p50_us": 1, "p90_us": 2, "p99_us": 3, "max_us": 4}],
        },
    }
    return {
        "night": "2026-01-08",
        "model": "linear",
        "strategy": "<i>mine</i>",
        "parameters": ["margin=1"],
        "changes": ["risk.max_order_lots=2"],
        "sessions": ["2026-01-06"],
        "pessimistic": -4.0,
        "median": -3.5,
        "optimistic": -3.5,
        "points": [point, {**point, "queue_model": "log", "net": -4.0}],
        "detail": {**detail, **changes},
    }


def test_the_page_shows_sessions_equity_band_and_fills_of_the_queue_that_was_asked_for() -> None:
    page = backtest_page(_made(), "UTC")
    for key in ("sessions", "pnl", "execution"):
        assert f'id="{key}"' in page
    assert "log queue, latency ×1" in page
    assert "pessimistic queue" not in page
    assert "risk.max_order_lots=2" in page
    assert "−0.500" in page, "net basis points a side: -3.5 of 70,000"
    assert "<i>mine" not in page
    assert "<b>do not" not in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_its_tables_are_those_that_are_exported() -> None:
    tables = night_tables(backtest_record(_made(), "UTC"))
    assert [row["queue_model"] for row in tables["band"]] == ["risk averse", "log"]
    assert [row["role"] for row in tables["band"]] == ["", "pessimistic"]
    assert len(tables["equity"]) == 3
    assert len(tables["round_trips"]) == 5


def test_a_backtest_that_never_traded_has_a_page() -> None:
    quiet = {"net": 0.0, "turnover": 0.0, "sharpe": None, "sharpe_error": None, "pnl": [0.0] * 3, "round_trips": []}
    assert 'id="pnl"' in backtest_page(_made(**quiet), "UTC")
