"""What a simulated tape is: event groups of a matching book, ordered, whole and the same every time."""

import numpy as np
import polars as pl
import pytest

from marketdata.book import COUNT_CROSSED, COUNT_MISSING, empty_book, fold_best
from marketdata.clock import Session
from marketdata.events import ADD, BID, CLEAR, DELETE, EXECUTE, F_LAST, F_SNAPSHOT, REDUCE
from marketdata.simulator.oracle import as_events, median_spread_units, quotes
from marketdata.simulator.session import SimulatedSession, opening_units, simulate_session
from tests.simulator.worlds import SYMBOLS, hour, make_settings

SETTINGS = make_settings(5)


@pytest.fixture(scope="module")
def session() -> Session:
    return SETTINGS.market_calendar().first_sessions(SETTINGS.start_date, 1)[0]


@pytest.fixture(scope="module")
def world(session: Session) -> SimulatedSession:
    return simulate_session(SETTINGS, session, 0)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_the_book_is_rebuilt_without_a_miss_and_never_crossed(world: SimulatedSession, symbol: str) -> None:
    book = empty_book(8_192)
    best = fold_best(book, as_events(world.ticks[symbol]))
    assert book.counters[COUNT_MISSING] == 0
    assert book.counters[COUNT_CROSSED] == 0
    opened = (world.ticks[symbol]["flags"].to_numpy() & F_SNAPSHOT) == 0
    assert (best[opened][:, [1, 3]] > 0).all(), "neither side is ever empty"
    assert (best[opened][:, 2] > best[opened][:, 0]).all(), "nor is the book locked"


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_rows_come_in_groups_with_one_sequence_and_time(world: SimulatedSession, session: Session, symbol: str) -> None:
    ticks = world.ticks[symbol]
    ts, sequence = ticks["ts_event"].to_numpy(), ticks["sequence"].to_numpy()
    last = (ticks["flags"].to_numpy() & F_LAST) > 0
    assert ts[0] == session.open_ns
    assert ts[-1] < session.close_ns
    assert (np.diff(ts) >= 0).all()
    changes = np.diff(sequence)
    assert set(np.unique(changes)) <= {0, 1}
    assert np.array_equal(changes == 1, last[:-1]), "a group ends where the next sequence begins"
    assert last[-1]
    assert (np.diff(ts)[changes == 1] > 0).all(), "two groups never share a time"
    assert (np.diff(ts)[changes == 0] == 0).all(), "one group has one time"


def test_the_session_opens_with_a_snapshot(world: SimulatedSession) -> None:
    ticks = world.ticks["ALFA"]
    snapshot = ticks.filter((pl.col("flags") & F_SNAPSHOT) > 0)
    assert ticks["action"][0] == CLEAR
    assert snapshot.height == ticks.filter(pl.col("sequence") == 1).height
    assert set(snapshot["action"][1:]) == {ADD}
    assert set(snapshot["side"][1:]) == {-1, 1}


def test_every_order_lives_from_its_add_to_what_took_it_off(world: SimulatedSession) -> None:
    ticks = world.ticks["CARGO"].filter(pl.col("action") != CLEAR)
    added = ticks.filter(pl.col("action") == ADD)
    assert added["order_id"].n_unique() == added.height
    gone = (
        ticks.filter(pl.col("action") != ADD)
        .group_by("order_id")
        .agg(
            pl.col("size_lots").sum().alias("gone"),
            pl.col("price_units").n_unique().alias("prices"),
            pl.col("side").n_unique().alias("sides"),
            (pl.col("action") == DELETE).sum().alias("deletes"),
        )
    )
    both = added.join(gone, on="order_id", how="left").with_columns(pl.col("gone").fill_null(0))
    assert gone.join(added, on="order_id", how="anti").height == 0
    assert (both["gone"] <= both["size_lots"]).all()
    assert both["prices"].max() == 1
    assert both["sides"].max() == 1
    deleted = both.filter(pl.col("deletes") > 0)
    assert deleted["deletes"].max() == 1
    assert (deleted["gone"] == deleted["size_lots"]).all()


def test_executions_hit_the_resting_best_price(world: SimulatedSession) -> None:
    ticks = world.ticks["ALFA"]
    best = fold_best(empty_book(8_192), as_events(ticks))
    at = np.flatnonzero(ticks["action"].to_numpy() == EXECUTE)
    side, price = ticks["side"].to_numpy()[at], ticks["price_units"].to_numpy()[at]
    before = best[at - 1]
    assert np.array_equal(price, np.where(side == BID, before[:, 0], before[:, 2]))


def test_there_are_at_least_125_000_rows_and_the_mix_is_a_market(world: SimulatedSession) -> None:
    for symbol in SYMBOLS:
        ticks = world.ticks[symbol]
        assert 125_000 <= ticks.height <= 135_000
        share = ticks["action"].value_counts(normalize=True)
        by_action = dict(zip(share["action"], share["proportion"], strict=True))
        assert 0.04 < by_action[EXECUTE] < 0.15
        assert 0.3 < by_action[ADD] < 0.6
        assert 0.3 < by_action[DELETE] < 0.6
        assert by_action[REDUCE] > 0.002


def test_the_spread_is_two_or_three_ticks_and_the_touch_holds_five_lots(
    world: SimulatedSession, session: Session
) -> None:
    for symbol, expected in zip(SYMBOLS, (2.0, 2.0, 3.0, 2.0, 3.0), strict=True):
        ts, best = quotes(world.ticks[symbol])
        assert median_spread_units(ts, best, session.close_ns) == expected
        assert np.median(best[:, 1]) >= 5
        assert np.median(best[:, 3]) >= 5


def test_the_same_seed_and_date_give_the_same_bytes(session: Session) -> None:
    settings = make_settings(2, events_per_session=5_000)
    first, again = (simulate_session(settings, hour(session), 3) for _ in range(2))
    for symbol in SYMBOLS[:2]:
        assert first.ticks[symbol].equals(again.ticks[symbol])
    assert first.options.equals(again.options)
    assert first.posts.equals(again.posts)
    assert first.transfers.equals(again.transfers)
    assert first.truth.path.equals(again.truth.path)
    other = simulate_session(make_settings(2, events_per_session=5_000, seed=8), hour(session), 3)
    assert not other.ticks["ALFA"].equals(first.ticks["ALFA"])


def test_an_instrument_does_not_depend_on_those_that_follow_it(session: Session) -> None:
    alone = simulate_session(make_settings(1, events_per_session=5_000), hour(session), 0)
    among = simulate_session(make_settings(3, events_per_session=5_000), hour(session), 0)
    assert alone.ticks["ALFA"].equals(among.ticks["ALFA"])


@pytest.mark.parametrize(("events", "hours"), [(20_000, 6.5), (5_000, 6.5), (20_000, 1.0), (40_000, 1.0)])
def test_small_and_short_sessions_meet_their_target(session: Session, events: int, hours: float) -> None:
    short = Session(session.date, session.open_ns, session.open_ns + int(hours * 3_600e9))
    ticks = simulate_session(make_settings(1, events_per_session=events), short, 0).ticks["ALFA"]
    assert abs(ticks.height - events) < 0.1 * events
    assert ticks["ts_event"][-1] > short.close_ns - 60_000_000_000


def test_the_opening_price_walks_from_session_to_session() -> None:
    item = SETTINGS.instruments[0]
    walk = [opening_units(SETTINGS, item, k) for k in range(9)]
    assert walk[0] == 10_000
    assert len(set(walk)) == 9
    assert 20 < np.std(np.diff(walk)) < 200
