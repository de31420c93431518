"""Orders of our own inside the simulated market: they are anybody's orders, and nobody else is changed without them."""

import numpy as np
import polars as pl
import pytest

from marketdata.book import COUNT_CROSSED, COUNT_MISSING, empty_book, fold_best
from marketdata.clock import NS_PER_MS, Session
from marketdata.events import ADD, BID, DELETE, EXECUTE, F_LAST
from marketdata.simulator.oracle import as_events
from marketdata.simulator.session import VisitedSession, simulate_session, simulate_visited
from marketdata.simulator.visits import VisitPlan, even_plan
from tests.simulator.worlds import hour, make_settings

SETTINGS = make_settings(2, events_per_session=20_000)
SESSION = hour(SETTINGS.market_calendar().first_sessions(SETTINGS.start_date, 1)[0])
FEED_NS, TO_VENUE_NS = NS_PER_MS, 2 * NS_PER_MS


def plan(*, lots: int = 1, follows: bool = False, session: Session = SESSION) -> VisitPlan:
    return even_plan(
        session,
        every_s=20.0,
        patience_s=15.0,
        lots=lots,
        feed_ns=FEED_NS,
        to_venue_ns=TO_VENUE_NS,
        seed=3,
        follows=follows,
    )


@pytest.fixture(scope="module")
def patient() -> VisitedSession:
    return simulate_visited(SETTINGS, SESSION, 0, plan(lots=3))


@pytest.fixture(scope="module")
def following() -> VisitedSession:
    return simulate_visited(SETTINGS, SESSION, 0, plan(follows=True))


def test_the_recorded_session_knows_nothing_of_the_visitor(patient: VisitedSession) -> None:
    alone = simulate_session(SETTINGS, SESSION, 0)
    for symbol, ticks in alone.ticks.items():
        assert patient.recorded.ticks[symbol].equals(ticks)
        assert not patient.ticks[symbol].equals(ticks)
    assert patient.recorded.truth.path.equals(alone.truth.path)


def test_a_visitor_that_never_comes_changes_nothing() -> None:
    nothing = np.zeros(0, np.int64)
    nobody = simulate_visited(SETTINGS, SESSION, 0, VisitPlan(nothing, nothing, nothing, nothing, nothing))
    for symbol, ticks in nobody.recorded.ticks.items():
        assert nobody.ticks[symbol].equals(ticks)


def test_every_visit_is_on_the_tape_from_its_arrival_to_its_end(patient: VisitedSession) -> None:
    the_plan = plan(lots=3)
    for symbol, ticks in patient.ticks.items():
        own = patient.visits.filter(pl.col("symbol") == symbol)
        assert own.height == len(the_plan) > 300
        assert set(own["status"]) == {"filled", "cancelled", "refused"} or set(own["status"]) == {"filled", "cancelled"}
        rested = own.filter(pl.col("order_id") > 0)
        rows = ticks.join(rested.select("order_id", "visit"), on="order_id")
        added = rows.filter(pl.col("action") == ADD).sort("visit")
        assert added["size_lots"].to_list() == [3] * rested.height
        assert added["price_units"].to_list() == rested["price_units"].to_list()
        late = added["ts_event"].to_numpy() - the_plan.arrive_ns[rested["visit"].to_numpy()]
        assert np.abs(late).max() < NS_PER_MS / 100
        traded = rows.filter(pl.col("action") == EXECUTE).group_by("visit").agg(pl.col("size_lots").sum())
        assert dict(traded.iter_rows()) == dict(
            rested.filter(pl.col("filled_lots") > 0).select("visit", "filled_lots").iter_rows()
        )
        deleted = rows.filter(pl.col("action") == DELETE)["visit"]
        assert sorted(deleted) == sorted(rested.filter(pl.col("status") == "cancelled")["visit"])


def test_nobody_else_cancels_a_visitors_order(patient: VisitedSession) -> None:
    cancelled = patient.visits.filter(pl.col("status") == "cancelled")
    assert cancelled.height > 20
    gone = cancelled["left_ns"].to_numpy() - plan(lots=3).cancel_ns[cancelled["visit"].to_numpy()]
    assert np.abs(gone).max() < NS_PER_MS / 100


def test_the_book_with_a_visitor_is_a_book(patient: VisitedSession) -> None:
    for ticks in patient.ticks.values():
        book = empty_book(8_192)
        fold_best(book, as_events(ticks))
        assert book.counters[COUNT_MISSING] == 0
        assert book.counters[COUNT_CROSSED] == 0


def test_the_lots_ahead_are_the_level_it_joined(patient: VisitedSession) -> None:
    symbol = "ALFA"
    ticks = patient.ticks[symbol]
    own = patient.visits.filter((pl.col("symbol") == symbol) & (pl.col("order_id") > 0)).sort("rested_ns")
    best = fold_best(empty_book(8_192), as_events(ticks))
    rows = np.flatnonzero(np.isin(ticks["order_id"].to_numpy(), own["order_id"]) & (ticks["action"].to_numpy() == ADD))
    checked = 0
    for row, visit in zip(rows, own.iter_rows(named=True), strict=True):
        price, lots = best[row][:2] if visit["side"] == 0 else best[row][2:]
        if price == visit["price_units"]:
            assert lots - 3 == visit["ahead_lots"]
            checked += 1
    assert checked > 200


def test_a_following_visitor_is_gone_one_reaction_after_the_touch_of_the_others_left(following: VisitedSession) -> None:
    symbol = "BRAVO"
    ticks = following.ticks[symbol]
    own = following.visits.filter(pl.col("symbol") == symbol)
    ids = own.filter(pl.col("order_id") > 0)["order_id"]
    others = ticks.filter(~pl.col("order_id").is_in(ids.implode()))
    best = fold_best(empty_book(8_192), as_events(others))
    ts, group_ends = others["ts_event"].to_numpy(), (others["flags"].to_numpy() & F_LAST) > 0
    reaction = FEED_NS + TO_VENUE_NS
    followed = 0
    for visit in own.filter(pl.col("status") == "cancelled").iter_rows(named=True):
        column = 0 if visit["side"] == 0 else 2
        first, last = np.searchsorted(ts, [visit["rested_ns"], visit["left_ns"] - reaction - NS_PER_MS // 10])
        within = best[first:last][group_ends[first:last]]
        assert (within[:, column] == visit["price_units"]).all(), "it stays while the touch is there"
        followed += visit["left_ns"] < plan(follows=True).cancel_ns[visit["visit"]] - NS_PER_MS
    assert followed > 50
    assert (own["side"] == 0).sum() > 100
    assert BID == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"side": np.array([0, 2])}, "buys"),
        ({"lots": np.array([1, 0])}, "buys"),
        ({"cancel_ns": np.array([5, 11])}, "in this order"),
        ({"side": np.array([0, 0]), "cancel_ns": np.array([30, 40])}, "do not overlap"),
        ({"lots": np.array([1])}, "differ in length"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(change: dict[str, np.ndarray], message: str) -> None:
    good = {
        "look_ns": np.array([0, 10]),
        "arrive_ns": np.array([1, 12]),
        "cancel_ns": np.array([9, 20]),
        "side": np.array([0, 1]),
        "lots": np.array([1, 1]),
    }
    VisitPlan(**good)
    with pytest.raises(ValueError, match=message):
        VisitPlan(**{**good, **change})


def test_a_patience_longer_than_the_time_between_visits_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        even_plan(SESSION, every_s=10, patience_s=9.5, lots=1, feed_ns=0, to_venue_ns=0, seed=1, follows=False)
