"""Benchmarks of makers: without the peer folder they use feeds of their own and ask nobody; an order without an end is seen."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import makers
from benchmarks.backtest_feeds import moving_feed, queue_feed, still_feed
from trading.journal import CANCELLED_ROW, FILL, JOURNAL_DTYPE, ORDER

ROWS = 40_000


@pytest.fixture
def installed_without_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let a peer's interpreter be there, but not the folder with the peers' feeds; whoever asks the peer fails."""

    def asked(*_: Any) -> bool:
        raise AssertionError("the peer was asked about a feed that is not its own")

    monkeypatch.setenv("FLOWSENSE_PEERS", str(tmp_path / "absent"))
    monkeypatch.setattr(makers, "peer_python", lambda _: Path(sys.executable))
    monkeypatch.setattr(makers, "ask_peer", asked)
    monkeypatch.setattr(makers, "peer_result", asked)
    makers._flow_folder.cache_clear()


@pytest.mark.usefixtures("installed_without_folder")
@pytest.mark.parametrize(("name", "feed", "made"), [("l2", "still_feed", still_feed), ("l3", "queue_feed", queue_feed)])
def test_without_the_peer_folder_a_maker_has_no_peer_though_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, name: str, feed: str, made: Any
) -> None:
    monkeypatch.setattr(makers, feed, lambda: made(ROWS))
    row = makers.BENCHMARKS[f"backtest_{name}"]()
    assert set(row) == {"n", "unit", "per_s"}
    assert row["n"] == ROWS


@pytest.mark.usefixtures("installed_without_folder")
def test_a_maker_on_a_feed_of_its_own_asks_an_installed_peer_without_the_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(makers, "moving_feed", lambda: moving_feed(ROWS))
    with pytest.raises(AssertionError, match="the peer was asked"):
        makers.backtest_requotes()


def test_an_order_without_an_end_a_fill_too_few_and_a_position_too_large_fail_the_benchmark() -> None:
    rows = np.zeros(4, JOURNAL_DTYPE)
    rows["kind"], rows["order_id"] = (ORDER, FILL, ORDER, CANCELLED_ROW), (1, 1, 2, 2)
    makers._sound(rows, 100)
    with pytest.raises(AssertionError, match="filled 99 times"):
        makers._sound(rows, 99)
    with pytest.raises(AssertionError, match="2 orders were sent, 1 ended"):
        makers._sound(rows[:3], 100)
    rows["position_lots"][1] = makers.MOST_HELD + 1
    with pytest.raises(AssertionError, match="held more"):
        makers._sound(rows, 100)
