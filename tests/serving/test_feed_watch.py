"""Where heartbeats are expected, a feed that is down or silent has what rests cancelled, and trading goes on after it."""

from dataclasses import replace
from datetime import date
from itertools import pairwise

import numpy as np
import pytest

from backtests.replay import run_backtest
from marketdata.clock import NS_PER_S, Session
from marketdata.messages import EventBatch, FeedStatus, SessionEnd, StatusKind
from marketdata.paths import DataRoot
from serving.executor import PaperExecutor
from serving.feed_watch import FeedWatch
from tests.serving.conftest import World
from tests.serving.test_live import Stands, items_of, journals, trader_of
from trading.controls import HEARTBEAT
from trading.heartbeats import heartbeats, with_heartbeats
from trading.journal import CONTROL, ORDER, REASON_NAMES, RISK, Journal, journal_controls

SWITCH_NS = NS_PER_S
SESSION = Session(date(2026, 1, 5), 10 * NS_PER_S, 20 * NS_PER_S)


def status(kind: StatusKind, feed: str = "a") -> FeedStatus:
    return FeedStatus(0, kind, 0, feed)


def watched(world: World) -> World:
    risk = world.settings.risk.model_copy(update={"dead_man_ns": SWITCH_NS})
    return replace(world, settings=world.settings.model_copy(update={"risk": risk}))


def risk_reasons(journal: Journal) -> list[str]:
    return [REASON_NAMES[k] for k in journal["reason"][journal["kind"] == RISK]]


def test_heartbeats_lie_on_a_grid_however_time_is_cut() -> None:
    whole = heartbeats(SESSION, SWITCH_NS, 0, 30 * NS_PER_S)["due_ns"]
    assert whole[0] == SESSION.open_ns
    assert whole[-1] < SESSION.close_ns
    assert (np.diff(whole) == SWITCH_NS // 4).all()
    cuts = [0, 10 * NS_PER_S, 10 * NS_PER_S + 1, 13 * NS_PER_S + 7, 19 * NS_PER_S, 30 * NS_PER_S]
    parts = [heartbeats(SESSION, SWITCH_NS, a, b)["due_ns"] for a, b in pairwise(cuts)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_where_none_are_expected_there_are_none() -> None:
    assert len(heartbeats(SESSION, 0, 0, 30 * NS_PER_S)) == 0
    assert with_heartbeats(None, SESSION, 0) is None


@pytest.mark.parametrize(
    ("told", "blind"),
    [
        ([], False),
        ([StatusKind.CONNECTED, StatusKind.SYNCED, StatusKind.GAP, StatusKind.REJECTED], False),
        ([StatusKind.DISCONNECTED], True),
        ([StatusKind.DISCONNECTED, StatusKind.CONNECTED], True),
        ([StatusKind.STALE], True),
        ([StatusKind.OVERRUN], True),
    ],
)
def test_a_feed_is_blind_while_it_is_down_or_silent_and_for_what_it_makes_good(
    told: list[StatusKind], blind: bool
) -> None:
    watch = FeedWatch()
    for kind in told:
        watch.hear(status(kind))
    assert watch.is_blind == blind
    watch.took(0)
    assert watch.is_blind == blind
    watch.took(5)
    assert watch.is_blind == (told == [StatusKind.DISCONNECTED]), (
        "rows of another connection do not bring this one back"
    )


def test_one_connection_does_not_speak_for_another() -> None:
    watch = FeedWatch()
    watch.hear(status(StatusKind.DISCONNECTED, "a"))
    watch.hear(status(StatusKind.CONNECTED, "b"))
    watch.took(3)
    assert watch.is_blind


def test_a_watched_session_trades_as_one_without_a_switch(world: World, fresh_root: DataRoot) -> None:
    trader, _ = trader_of(fresh_root, watched(world), Stands("paper", world.bundle))
    for item in items_of(world, 7):
        trader.take(item)
    (journal,) = journals(fresh_root)
    assert "no_heartbeat" not in risk_reasons(journal)
    plain, _ = trader_of(DataRoot(fresh_root.path / "plain"), world, Stands("paper", world.bundle))
    for item in items_of(world, 7):
        plain.take(item)
    (same,) = journals(DataRoot(fresh_root.path / "plain"))
    without = journal[~((journal["kind"] == CONTROL) & (journal["reason"] == HEARTBEAT))]
    assert (without["kind"] == ORDER).any()
    assert all(np.array_equal(without[n], same[n]) for n in ("ts_ns", "kind", "price_units", "size_lots"))


def test_a_lost_connection_cancels_what_rests_and_trading_goes_on_after_it(world: World, fresh_root: DataRoot) -> None:
    trader, said = trader_of(fresh_root, watched(world), Stands("paper", world.bundle))
    start, *batches, end = items_of(world, 60)
    assert isinstance(end, SessionEnd)
    trader.take(start)
    for k, batch in enumerate(batches):
        assert isinstance(batch, EventBatch)
        if k == 30:
            trader.take(status(StatusKind.DISCONNECTED))
            trader.take(status(StatusKind.CONNECTED))
        trader.take(batch)
    trader.take(end)
    (journal,) = journals(fresh_root)
    lost = [i for i, reason in enumerate(risk_reasons(journal)) if reason == "no_heartbeat"]
    assert len(lost) == 1
    at = journal["ts_ns"][journal["kind"] == RISK][lost[0]]
    blind_from, blind_to = batches[29].watermark_ns, batches[30].watermark_ns
    assert blind_from < at <= blind_from + SWITCH_NS
    sent = journal["ts_ns"][journal["kind"] == ORDER]
    assert (sent > blind_to).any(), "it trades again"
    assert any("no heartbeats until the stream is back" in line for line in said)


def test_a_backtest_is_always_watched_and_replays_a_session_with_its_heartbeats(world: World) -> None:
    settings = watched(world).settings
    executor = PaperExecutor(settings, world.session, world.bundle, "paper")
    steps = [executor.step(part) for part in np.array_split(world.events, 5)] + [executor.finish()]
    traded = np.concatenate([step.journal for step in steps])
    forecasts = np.concatenate([step.forecasts for step in steps])
    again = run_backtest(settings, world.session, world.events, forecasts)
    assert np.array_equal(again.journal, traded)
    replayed = run_backtest(
        settings,
        world.session,
        world.events,
        forecasts,
        controls=journal_controls(traded, executor.config.pauses),
    )
    assert "no_heartbeat" not in risk_reasons(traded)
    assert np.array_equal(replayed.journal["ts_ns"], traded["ts_ns"])
