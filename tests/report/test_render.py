"""The page of a night: says first what matters, hides nothing, needs no network."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from backtests.report import charts, numbers
from backtests.report.record import NightRecord, Status, load_record, save_record
from backtests.report.render import night_page, render_night_report
from backtests.report.trading_sections import drawdown, hourly
from tests.report.sample import BASELINES, CANDIDATES, empty_night, promoted_night, shadow_night

VOID = {"meta", "br"}


class Balance(HTMLParser):
    """Collect unbalanced tags, outside addresses and ids."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.problems: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            if name == "id" and value:
                self.ids.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            self.problems.append(f"</{tag}> closes {self.open[-3:]}")
        else:
            self.open.pop()


@pytest.mark.parametrize("night", [promoted_night, shadow_night, empty_night])
def test_the_page_is_well_formed_and_needs_no_network(night: object, tmp_path: Path) -> None:
    path = render_night_report(night(), tmp_path / "reports" / "night.html")  # type: ignore[operator]  # parametrised
    text = path.read_text(encoding="utf-8")
    parser = Balance()
    parser.feed(text)
    assert parser.problems == []
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    assert all(link.startswith("#") and link[1:] in parser.ids for link in parser.links)
    assert not re.findall(r"(?:url\(|@import|https?://(?!www\.w3\.org/2000/svg))", text)
    assert path.stat().st_size < 1_500_000


def test_the_first_line_says_shadow_and_why() -> None:
    page = night_page(shadow_night())
    assert page.index("No champion: linear trades in the shadow only") < page.index("<nav")
    assert page.index("insufficient_evidence: 1 of 5 test days") < page.index("<nav")
    assert "SHADOW<span>best candidate, not a champion" in page


def test_baselines_stand_in_a_body_of_their_own_after_the_candidates() -> None:
    page = night_page(promoted_night())
    table = page[page.index('id="league"') : page.index('id="controls"')]
    bodies = re.findall(r'<tbody class="(candidate|baseline)">(.*?)</tbody>', table, re.DOTALL)
    assert [kind for kind, _ in bodies] == ["candidate", "baseline"]
    assert all(f">{name}<" in bodies[0][1] for name in CANDIDATES)
    assert all(f">{name}<" in bodies[1][1] for name in BASELINES)


def test_null_and_planted_worlds_stand_in_one_table() -> None:
    page = night_page(promoted_night())
    part = page[page.index('id="controls"') : page.index('id="statistics"')]
    assert part.count("<table") == 1
    assert "#g-n0" in part
    assert "#g-planted" in part


def test_parts_that_are_not_there_are_named() -> None:
    page = night_page(empty_night())
    for sentence in (
        "No decision was taken",
        "No model was scored",
        "No session was traded on paper",
        "No control world",
    ):
        assert sentence in page


def test_quarantined_partitions_show_their_reason() -> None:
    assert "book is never crossed at the end of a group: 12 groups" in night_page(promoted_night())


def test_text_from_outside_cannot_become_markup() -> None:
    evil = Status(kind="refused", headline="<script>alert(1)</script>", reason='"><img src=x>')
    page = night_page(replace(empty_night(), status=evil, notes=("<b>x</b>",), source="<i>s</i>"))
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "<b>x</b>" not in page
    assert "<i>s</i>" not in page


def test_the_page_of_a_record_that_went_through_json_is_the_same(tmp_path: Path) -> None:
    night = promoted_night()
    save_record(night, tmp_path / "record.json")
    assert night_page(load_record(tmp_path / "record.json")) == night_page(night)


def test_drawdown_counts_the_start_as_a_peak() -> None:
    assert drawdown([-1.0, 2.0, 1.5, 3.0]) == [-1.0, 0.0, -0.5, 0.0]


def test_hours_sum_to_the_whole() -> None:
    night: NightRecord = promoted_night()
    net = night.evidence.curves[0].net
    _, hours, cells = hourly(night.evidence, net, night.time_zone)
    assert hours[0] == "09h"
    assert sum(v for row in cells for v in row if v is not None) == pytest.approx(sum(net))


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.7, 12.2), (-1e6, 5.0), (0.0, 1e-7)])
def test_axis_ticks_are_inside_and_evenly_spaced(low: float, high: float) -> None:
    ticks = charts.nice_ticks(low, high, 5)
    assert 2 <= len(ticks) <= 7
    assert low - 1e-9 <= ticks[0] <= ticks[-1] <= high + 1e-9
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])


@pytest.mark.parametrize(
    ("value", "shown"), [(1234.5, "+1,234"), (-0.5, "−0.50"), (0.0, "0.00"), (-0.001, "0.00"), (None, numbers.ABSENT)]
)
def test_money_has_one_form(value: float | None, shown: str) -> None:
    assert numbers.money(value) == shown
