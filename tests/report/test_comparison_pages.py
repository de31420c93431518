"""The pages of an A/B comparison and of the control worlds: what was measured is on them, and nothing from outside is markup."""

import re
from typing import Any

import pytest

from backtests.controls import ControlTotal, exact_bounds
from backtests.report.ab_page import ab_page
from backtests.report.controls_page import controls_page, power_curve

ARM: dict[str, float | None] = {
    **dict.fromkeys(("shortfall_bps", "decision_bps", "arrival_bps", "vwap_bps", "fill_rate", "maker_share"), 0.5),
    **dict.fromkeys(("children", "shortfall", "delay", "execution", "opportunity", "fees"), 2.0),
    **dict.fromkeys(("decision_us", "wire_us", "acknowledgement_us", "queue_us", "fill_us"), None),
    "markout_1s_bps": -0.25,
}


def _pair(place: int, difference: float) -> dict[str, Any]:
    return {
        "date": f"2026-01-0{6 + place // 12}",
        "at": "10:31:05",
        "symbol": "A<b>",
        "side": "buy",
        "lots": 5,
        "minutes": 5.0,
        "a_bps": 1.0,
        "b_bps": 1.0 + difference,
        "difference_bps": difference,
        "a_filled": 1.0,
        "b_filled": 1.0,
        "a_maker": 0.0,
        "b_maker": 0.5,
    }


def _made(**changes: Any) -> dict[str, Any]:
    differences = [-1.0] * 18 + [0.5] * 6
    groups = [
        {"kind": "all", "name": "all", "parents": 24, "difference_bps": -0.625, "low_bps": -0.9, "high_bps": -0.3},
        {
            "kind": "session",
            "name": "2026-01-06",
            "parents": 12,
            "difference_bps": -1.0,
            "low_bps": None,
            "high_bps": None,
        },
    ]
    return {
        "night": "2026-01-08",
        "model": "<i>linear",
        "sessions": ["2026-01-06", "2026-01-07"],
        "parents": 24,
        "lots": 5,
        "minutes": 5.0,
        "queue_model": "risk_averse",
        "a": "twap",
        "b": "hybrid_twap",
        "difference_bps": -0.625,
        "low_bps": -0.9,
        "high_bps": -0.3,
        "differs": True,
        "algorithms": {"twap": {**ARM, "shortfall": 5.0}, "hybrid_twap": ARM},
        "block": 2.0,
        "changes": ["venues.SIM.fees.per_trade=1"],
        "groups": groups,
        "pairs": [_pair(k, value) for k, value in enumerate(differences)],
        **changes,
    }


def test_the_page_of_a_comparison_has_interval_sum_histogram_and_every_parent() -> None:
    page = ab_page(_made())
    assert "hybrid_twap is cheaper" in page
    assert "−0.900 … −0.300" in page
    assert "75.0 %" in page, "of 24 parents 18 are cheaper with the second"
    assert "+3.00" in page, "5 less 2 of shortfall"
    curve = re.search(r"data-hover='([^']*)'", page)
    assert curve is not None
    assert "-15.0" in curve[1], "18 times -1 and 6 times 0.5"
    bars = [int(n) for n in re.findall(r"<title>[^<]* bps: ([0-9,]+)</title>", page)]
    assert sorted(bars) == [6, 18]
    assert page.count("10:31:05") == 24
    assert "venues.SIM.fees.per_trade=1" in page
    assert "<i>linear" not in page
    assert "A<b>" not in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_an_interval_that_holds_zero_says_that_nothing_was_shown() -> None:
    page = ab_page(_made(differs=False, low_bps=-0.9, high_bps=0.3))
    assert "no difference shown" in page
    assert "is cheaper</span>" not in page
    assert "twap is cheaper" in ab_page(_made(difference_bps=0.4, low_bps=0.1, high_bps=0.7))


def _total(world: Any, strength: float | None, runs: int, chosen: int, **reasons: int) -> ControlTotal:
    low, high = exact_bounds(chosen, runs)
    return ControlTotal(world, strength, runs, chosen, low, high, reasons)


def test_null_and_planted_worlds_stand_on_one_page_with_bounds_reasons_and_the_gates_version() -> None:
    found = [
        _total("n0", None, 200, 0, does_not_pay=200),
        _total("n1", None, 30, 1, promoted=1, does_not_pay=29),
        _total("planted", 0.0, 10, 0, insufficient_evidence=10),
        _total("planted", 0.5, 20, 19, promoted=19, **{"<b>": 1}),
    ]
    page = controls_page(found, "abcdef012345", "f0f0f0f0f0f0", 0.01)
    assert "gate abcdef012345 · worlds f0f0f0f0f0f0 · 260 runs" in page
    assert "1 of 40" in page, "worlds in which nothing pays: N1 and what was planted at 0"
    assert f"at most {100 * exact_bounds(1, 40)[1]:.1f} % (asked: 1.0 %)" in page
    assert f"at least {100 * exact_bounds(19, 20)[0]:.1f} % (asked: 95 %)" in page
    assert "95 % asked for at +0.5" in page
    assert "insufficient evidence" in page
    assert "<b>" not in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_the_power_curve_puts_each_rate_at_its_strength() -> None:
    drawn = power_curve([(-0.5, 0, 4, 0.0, 0.6), (0.5, 2, 4, 0.07, 0.93), (1.0, 4, 4, 0.4, 1.0)])
    dots = [
        tuple(float(v) for v in found) for found in re.findall(r'class="rate" cx="([0-9.]+)" cy="([0-9.]+)"', drawn)
    ]
    (x0, y0), (x1, y1), (x2, y2) = dots
    assert (x1 - x0) / (x2 - x1) == pytest.approx(2.0, abs=0.01)
    assert (y0 - y1) == pytest.approx(y1 - y2, abs=0.2)
    assert "no planted world has been run" in power_curve([])
    assert "no planted world has been run" in controls_page([_total("n1", None, 1, 0, does_not_pay=1)], "a", "b", 0.01)
