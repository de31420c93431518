"""Benchmarks are found by name, checked before any runs, and give one form of row."""

import sys
from types import ModuleType
from typing import Any

import pytest

from benchmarks import registry


@pytest.fixture(autouse=True)
def two_modules(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Offer two made-up modules in place of the real ones; return the names that ran."""
    ran: list[str] = []

    def offer(name: str, **rows: dict[str, Any]) -> None:
        module = ModuleType(name)

        def runner(label: str, row: dict[str, Any]) -> Any:
            return lambda: (ran.append(label), row)[1]

        module.BENCHMARKS = {label: runner(label, row) for label, row in rows.items()}  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)

    offer("made_up_a", fast={"n": 10, "unit": "event", "per_s": 8.0, "peer": "slowlib", "peer_per_s": 2.0})
    offer("made_up_b", plain={"n": 5, "unit": "order", "per_s": 1.5, "p50_us": 2.0}, broken={"n": "many"})
    monkeypatch.setattr(registry, "MODULES", ("made_up_a", "made_up_b"))
    return ran


def test_a_row_has_every_field_and_the_ratio_is_ours_over_the_peers() -> None:
    fast, plain = registry.run_benchmarks(["fast", "plain"])
    assert list(fast) == ["name", "n", "unit", "per_s", "p50_us", "p99_us", "peer", "peer_per_s", "ratio"]
    assert fast["ratio"] == 4.0
    assert plain["ratio"] is None
    assert plain["p99_us"] is None


def test_an_unknown_name_stops_before_anything_runs(two_modules: list[str]) -> None:
    with pytest.raises(registry.UnknownBenchmark, match="nothing; there are fast, plain, broken"):
        registry.run_benchmarks(["fast", "nothing"])
    assert two_modules == []


def test_what_is_no_row_is_refused_by_name() -> None:
    with pytest.raises(registry.BenchmarkError, match="benchmark broken"):
        registry.run_benchmarks(["broken"])


def test_two_benchmarks_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "MODULES", ("made_up_a", "made_up_a"))
    with pytest.raises(registry.BenchmarkError, match="two benchmarks are called fast"):
        registry.available()


def test_progress_names_each_before_it_runs(two_modules: list[str]) -> None:
    seen: list[tuple[str, int]] = []
    registry.run_benchmarks(["plain", "fast"], lambda name: seen.append((name, len(two_modules))))
    assert seen == [("plain", 0), ("fast", 1)]
