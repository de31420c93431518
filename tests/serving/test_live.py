"""The live service waits for a champion, takes a new one within seconds, and stops clean."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from marketdata.feeds import ReplayFeed, StreamItem, serve_stream, stream_session
from marketdata.messages import EventBatch, SessionEnd, SessionStart
from marketdata.paths import DataRoot
from models.bundle import Bundle
from models.decisions import DecisionLedger
from serving.account import load_account
from serving.champion import Standing
from serving.heartbeat import read_heartbeat
from serving.ledger_store import read_ledger
from serving.live import LOOK_EVERY_S, LiveTrader, run_live
from serving.session import run_session
from serving.session_files import read_forecasts
from tests.serving.conftest import World
from trading.journal import CONTROL, FILL, load_journal


def items_of(world: World, parts: int = 60) -> list[StreamItem]:
    start = SessionStart(0, world.session.date, world.session.open_ns, world.session.close_ns, ("ALFA",))
    batches = [EventBatch(e, int(e["ts_recv"][-1])) for e in np.array_split(world.events, parts)]
    return [start, *batches, SessionEnd(0, world.session.date, len(world.events))]


def other_bundle(bundle: Bundle) -> Bundle:
    """Return a bundle with the same weights under another hash."""
    return Bundle(replace(bundle.manifest, seed=bundle.manifest.seed + 1), bundle.arrays)


class Stands:
    """Says who stands; the test changes it."""

    def __init__(self, mode: str | None, bundle: Bundle | None) -> None:
        self.mode, self.found = mode, bundle

    def bundle(self) -> tuple[Standing, Bundle | None]:
        sha = self.found.sha256 if self.found else ""
        return Standing(self.mode, "linear", sha, reason=f"{self.mode} {sha[:8]}"), self.found  # type: ignore[arg-type]


def trader_of(root: DataRoot, world: World, stands: Stands, policy: str = "flatten") -> tuple[LiveTrader, list[str]]:
    said: list[str] = []
    trader = LiveTrader(root, world.settings, on_new_champion=policy, say=said.append)  # type: ignore[arg-type]
    trader._watch = stands  # type: ignore[assignment]  # who stands is what this test is about
    return trader, said


def journals(root: DataRoot) -> list[np.ndarray]:
    return [
        load_journal(path)
        for path in sorted(root.journals.glob("live-*/journal.npz"), key=lambda p: p.stat().st_mtime_ns)
    ]


def test_a_session_traded_live_equals_the_same_session_of_the_night(world: World, fresh_root: DataRoot) -> None:
    trader, said = trader_of(fresh_root, world, Stands("paper", world.bundle))
    for item in items_of(world):
        trader.take(item)
    same = run_session(fresh_root, world.settings, world.session, world.events, world.bundle, "paper")
    (journal,) = journals(fresh_root)
    assert len(journal) == len(same.journal)
    assert all(np.array_equal(journal[n], same.journal[n]) for n in ("ts_ns", "kind", "price_units", "equity_nanos"))
    assert any("PAPER TRADING" in line for line in said)
    assert any("no published options, social, onchain signals" in line for line in said)


def test_without_anybody_nothing_is_traded_and_the_reason_is_said_once(world: World, fresh_root: DataRoot) -> None:
    trader, said = trader_of(fresh_root, world, Stands(None, None))
    for item in items_of(world, 10):
        trader.take(item)
        trader.look()
    assert sum("NOT TRADING" in line for line in said) == 1
    assert journals(fresh_root) == []


def test_a_champion_that_comes_late_forecasts_as_if_it_had_been_there_but_trades_only_the_rest(
    world: World, fresh_root: DataRoot
) -> None:
    stands = Stands(None, None)
    trader, _ = trader_of(fresh_root, world, stands)
    everything = items_of(world)
    for item in everything[:31]:
        trader.take(item)
    stands.mode, stands.found = "paper", world.bundle
    trader.look()
    for item in everything[31:]:
        trader.take(item)
    late = read_forecasts(next(fresh_root.journals.glob("live-*")))
    joined = everything[30].watermark_ns  # type: ignore[union-attr]
    assert late["ts_recv"][0] >= joined

    whole, _ = trader_of(DataRoot(fresh_root.path / "whole"), world, Stands("paper", world.bundle))
    for item in everything:
        whole.take(item)
    full = read_forecasts(next((fresh_root.path / "whole").glob("journals/live-*")))
    rest = full[full["ts_recv"] >= joined]
    assert all(np.array_equal(rest[name], late[name]) for name in ("ts_recv", "p_up", "p_down", "edge_units"))


@pytest.mark.parametrize(("policy", "mode"), [("flatten", "paper"), ("hold", "paper"), ("hold", "shadow")])
def test_a_new_champion_takes_over_by_the_policy(world: World, fresh_root: DataRoot, policy: str, mode: str) -> None:
    stands = Stands(mode, world.bundle)
    trader, said = trader_of(fresh_root, world, stands, policy)
    everything = items_of(world, 400)
    taken = 0
    while trader._session is None or not any(trader._session.facts().get("positions", {}).values()):
        trader.take(everything[taken])
        taken += 1
    stands.mode, stands.found = "paper", other_bundle(world.bundle)
    trader.look()
    for item in everything[taken:]:
        trader.take(item)
    found = journals(fresh_root)
    if policy == "hold" and mode == "paper":
        assert len(found) == 1
        assert not (found[0]["kind"] == CONTROL).any()
        assert any("keeps what is held" in line for line in said)
    else:
        assert len(found) == 2
        assert (found[0]["kind"] == CONTROL).any()
        assert found[0][found[0]["kind"] == FILL]["position_lots"][-1] == 0
        status = read_ledger(fresh_root.ledger_database, "sessions")
        assert status["status"].to_list() == ["replaced", "closed"]
        assert status["mode"].to_list() == [mode, "paper"]


def test_the_account_outlives_the_session(world: World, fresh_root: DataRoot) -> None:
    trader, _ = trader_of(fresh_root, world, Stands("paper", world.bundle))
    for item in items_of(world, 10):
        trader.take(item)
    left = load_account(fresh_root, "paper")
    assert left is not None
    assert load_account(fresh_root, "shadow") is None
    again, _ = trader_of(fresh_root, world, Stands("paper", world.bundle))
    again.take(items_of(world, 10)[0])
    assert again._session is not None
    assert again._session.facts()["equity"] == left.equity_nanos / 1e9
    again.close("stopped")


def test_a_killed_executor_leaves_no_session_running(world: World, fresh_root: DataRoot) -> None:
    trader, _ = trader_of(fresh_root, world, Stands("paper", world.bundle))
    for item in items_of(world, 20)[:15]:
        trader.take(item)
    trader.beat(connected=True)
    kept = load_account(fresh_root, "paper")
    assert kept is not None
    stop = threading.Event()
    stop.set()
    run_live(fresh_root, stop=stop, say=lambda line: None, open_stream=lambda: [])
    assert read_ledger(fresh_root.ledger_database, "sessions")["status"].to_list() == ["interrupted"]


def test_a_bundle_for_other_features_is_refused_and_said(world: World, fresh_root: DataRoot) -> None:
    wrong = Bundle(replace(world.bundle.manifest, fingerprint="0" * 64), world.bundle.arrays)
    trader, said = trader_of(fresh_root, world, Stands("paper", wrong))
    for item in items_of(world, 5):
        trader.take(item)
        trader.look()
    assert sum("cannot trade here" in line for line in said) == 1


def test_the_service_trades_a_socket_stream_takes_a_champion_within_five_seconds_and_stops_clean(
    world: World, champion_root: DataRoot
) -> None:
    ledger = DecisionLedger(champion_root)
    ledger.rollback(2 * 10**18, by="tester", why="nobody for now", to_nobody=True)

    def endless() -> Iterator[StreamItem]:
        symbols = [item.symbol for item in world.settings.instruments]
        feed = ReplayFeed(world.events, speed=2_000.0, start_ns=world.session.open_ns)
        yield from stream_session(world.session, symbols, feed)
        while True:
            time.sleep(0.05)
            yield SessionStart(0, world.session.date, world.session.open_ns, world.session.close_ns, tuple(symbols))

    said: list[str] = []
    stop = threading.Event()
    server = serve_stream(endless())
    host, port = server.address
    thread = threading.Thread(
        target=run_live, args=(champion_root,), kwargs={"host": host, "port": port, "stop": stop, "say": said.append}
    )
    thread.start()
    try:
        wait_for(lambda: any("NOT TRADING" in line for line in said))
        wait_for(lambda: (read_heartbeat(champion_root) or {}).get("alive"))
        ledger.promote("linear", world.bundle.sha256, 2 * 10**18 + 1, by="tester", why="the test goes on")
        wait_for(lambda: any("linear" in line and "trades from" in line for line in said))
        wait_for(lambda: (read_heartbeat(champion_root) or {}).get("mode") == "paper")
    finally:
        stop.set()
        thread.join(120)
        server.stop()
    assert not thread.is_alive()
    assert LOOK_EVERY_S <= 1.0, "within five seconds: one to look, the rest to catch up"
    statuses = read_ledger(champion_root.ledger_database, "sessions")["status"].to_list()
    assert "running" not in statuses
    assert statuses


def wait_for(condition: object, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]  # a plain function
            return
        time.sleep(0.05)
    raise AssertionError(f"did not happen within {seconds} s")
