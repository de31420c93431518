"""Every planted fault is found by the check that is named after it, and by no other."""

from collections.abc import Callable
from datetime import date

import numpy as np
import polars as pl
import pytest

from marketdata.check_names import CHECK_NAMES, WARN_ONLY, check_names
from marketdata.clock import NS_PER_S, Calendar
from marketdata.events import (
    ADD,
    ASK,
    BID,
    CLEAR,
    EVENT_SCHEMA,
    EXECUTE,
    F_CROSSED,
    F_LAST,
    QUOTE,
    TRADE,
    EventArray,
    empty_events,
    events_to_frame,
)
from marketdata.instruments import BookKind, Instrument
from marketdata.presets import preset
from marketdata.validation import (
    LABEL_MISSING,
    audit_events,
    audit_feature_rows,
    audit_labels,
    audit_raw_ticks,
    audit_slow,
    flag_crossed,
)

SESSION = Calendar("XNYS", "America/New_York").session(date(2026, 1, 5))
STOCK = Instrument(symbol="ALFA", instrument_id=0, venue="SIM", unit_nanos=1, price_decimals=0.01, tick_units=10)
NBBO = STOCK.model_copy(update={"book_kind": BookKind.NBBO})


def good_events() -> EventArray:
    """Start, a book of two levels a side, then executions that take from the bid and adds that refill it."""
    rows = [(CLEAR, 0, 0, 0)]
    rows += [(ADD, side, price, 50) for side, price in ((BID, 990), (BID, 1_000), (ASK, 1_010), (ASK, 1_020))]
    rows += [(EXECUTE, BID, 1_000, 5), (ADD, BID, 1_000, 5)] * 20
    events = empty_events(len(rows))
    for name, values in zip(("action", "side", "price_units", "size_lots"), zip(*rows, strict=True), strict=True):
        events[name] = values
    events["sequence"] = np.arange(len(rows))
    events["ts_event"] = SESSION.open_ns + np.arange(len(rows)) * NS_PER_S
    events["ts_recv"] = events["ts_event"] + 1_000
    events["flags"] = F_LAST
    return events


def failed(checks: list) -> list[str]:
    return [check.name for check in checks if not check.passed]


def test_good_events_pass_every_check_in_the_declared_order() -> None:
    checks, bad = audit_events(good_events(), STOCK, SESSION, traded_lots=100)
    assert failed(checks) == []
    assert tuple(check.name for check in checks) == check_names("events")
    assert bad.is_empty()
    assert "reason" in bad.columns


def _clock_back(e: EventArray) -> None:
    e["ts_event"][9] = e["ts_event"][7]


def _recv_back(e: EventArray) -> None:
    e["ts_recv"][9] += 2 * NS_PER_S


def _too_early(e: EventArray) -> None:
    e["ts_recv"][9] = e["ts_event"][9] - 1


def _before_open(e: EventArray) -> None:
    e["ts_event"][0] -= 1


def _unknown_action(e: EventArray) -> None:
    e["action"][9] = 77


def _negative_size(e: EventArray) -> None:
    e["size_lots"][0] = -1


def _open_group(e: EventArray) -> None:
    e["flags"][9] = 0


def _off_tick(e: EventArray) -> None:
    e["price_units"][1] = 985


def _too_much(e: EventArray) -> None:
    e["size_lots"][5] = 51


FAULTS: list[tuple[Callable[[EventArray], None], str, int]] = [
    (_clock_back, "event_times_do_not_go_back", 10),
    (_recv_back, "receive_times_do_not_go_back", 11),
    (_too_early, "nothing_is_received_before_it_happened", 10),
    (_before_open, "events_lie_within_the_session", 1),
    (_unknown_action, "event_actions_and_sides_are_known", 10),
    (_negative_size, "event_sizes_are_not_negative", 1),
    (_open_group, "event_groups_are_closed", 10),
    (_off_tick, "book_prices_are_on_the_tick", 2),
    (_too_much, "volume_is_conserved", 6),
]


@pytest.mark.parametrize(("plant", "name", "row"), FAULTS, ids=[name for _, name, _ in FAULTS])
def test_a_planted_fault_is_found_by_its_own_check_and_its_row_is_kept(
    plant: Callable[[EventArray], None], name: str, row: int
) -> None:
    events = good_events()
    plant(events)
    checks, bad = audit_events(events, STOCK, SESSION)
    assert failed(checks) == [name]
    (found,) = [check for check in checks if not check.passed]
    assert found.blocking
    assert f"row {row}" in found.detail
    assert bad.select("row", "reason").rows()[0] == (row, name)


def test_a_crossed_or_locked_matching_book_is_found_at_the_end_of_its_group_and_not_inside_it() -> None:
    events = good_events()
    events["side"][5], events["action"][5], events["price_units"][5] = BID, ADD, 1_010
    checks, bad = audit_events(events, STOCK, SESSION)
    assert failed(checks) == ["book_is_never_crossed", "executions_are_at_the_best"]  # 1,000 is no longer the best bid
    assert bad["row"][0] == 6
    passing = good_events()
    passing["action"][5], passing["price_units"][5] = ADD, 1_010  # crosses, and row 6 takes it out again, in one group
    passing["action"][6], passing["price_units"][6] = EXECUTE, 1_010
    passing["sequence"][6], passing["flags"][5] = passing["sequence"][5], 0
    assert failed(audit_events(passing, STOCK, SESSION)[0]) == []


def quote_events(crossed_s: int) -> EventArray:
    """A national pair that is crossed for so many seconds of the session."""
    times = SESSION.open_ns + np.array([0, 0, 10, 10 + crossed_s]) * NS_PER_S
    events = empty_events(4)
    events["action"], events["flags"], events["sequence"] = QUOTE, F_LAST, np.arange(4)
    events["side"], events["price_units"] = [BID, ASK, BID, BID], [1_000, 1_010, 1_020, 1_000]
    events["size_lots"], events["ts_event"], events["ts_recv"] = 1, times, times
    return events


def test_a_consolidated_book_may_be_crossed_for_a_twentieth_of_the_session_if_the_rows_are_flagged() -> None:
    session_s = (SESSION.close_ns - SESSION.open_ns) // NS_PER_S
    unflagged = quote_events(60)
    assert failed(audit_events(unflagged, NBBO, SESSION)[0]) == ["book_is_never_crossed"]
    flagged = flag_crossed(quote_events(60))
    assert np.flatnonzero(flagged["flags"] & F_CROSSED).tolist() == [2]
    assert failed(audit_events(flagged, NBBO, SESSION)[0]) == []
    too_long = flag_crossed(quote_events(session_s // 20 + 60))
    checks, _ = audit_events(too_long, NBBO, SESSION)
    assert failed(checks) == ["book_is_never_crossed"]
    assert "at most 5%" in next(c.detail for c in checks if not c.passed)


def test_volume_that_the_raw_rows_do_not_show_is_found() -> None:
    checks, _ = audit_events(good_events(), STOCK, SESSION, traded_lots=101)
    assert [(c.name, c.detail) for c in checks if not c.passed] == [
        ("volume_is_conserved", "100 lots traded in the events, 101 in the raw rows")
    ]


def test_a_missing_column_is_the_only_reason_given_and_the_rest_is_not_judged() -> None:
    checks, bad = audit_events(events_to_frame(good_events()).drop("side", "flags"), STOCK, SESSION)
    assert [(c.name, c.detail) for c in checks if c.blocking and not c.passed] == [
        ("event_columns_are_present", "missing: side, flags")
    ]
    assert all(c.detail.startswith("not judged") for c in checks[1:])
    assert bad.is_empty()


def raw_frame(rows: int = 30) -> pl.DataFrame:
    events = good_events()[:rows]
    return events_to_frame(events).drop("ts_recv", "clock_quality")


def test_raw_ticks_of_the_simulated_market_are_audited_in_their_own_columns() -> None:
    settings = preset("simulated", None)
    checks, _ = audit_raw_ticks(raw_frame(), settings, "ALFA")
    assert failed(checks) == []
    assert (*(c.name for c in checks), "raw_suite_holds") == check_names("raw_ticks")
    back = raw_frame().with_columns(pl.col("ts_event").reverse())
    assert failed(audit_raw_ticks(back, settings, "ALFA")[0]) == ["raw_clock_does_not_go_back"]
    null = raw_frame().with_columns(pl.when(pl.col("sequence") == 4).then(None).otherwise("side").alias("side"))
    checks, bad = audit_raw_ticks(null, settings, "ALFA")
    assert failed(checks) == ["raw_values_are_not_missing"]
    assert bad["row"].to_list() == [5]
    assert failed(audit_raw_ticks(raw_frame().clear(), settings, "ALFA")[0]) == ["raw_rows_exist"]


def feature_frame(rows: int = 5) -> pl.DataFrame:
    steps = pl.int_range(rows, eager=True)
    return pl.DataFrame(
        {
            "ts_recv": SESSION.open_ns + 1_000 + steps,
            "ts_event": SESSION.open_ns + steps,
            "sequence": steps,
            "bid_units": [1_000] * rows,
            "ask_units": [1_010] * rows,
            "bid_lots": [1] * rows,
            "ask_lots": [1] * rows,
            "depth_imbalance_l1": [0.5] * rows,
            "ofi": [float("nan")] * (rows - 1) + [0.1],
        }
    )


def test_feature_rows_may_be_unknown_but_neither_infinite_nor_crossed_nor_out_of_order() -> None:
    good = feature_frame()
    checks, _ = audit_feature_rows(good, SESSION)
    assert failed(checks) == []
    infinite = good.with_columns(pl.lit(float("inf")).alias("ofi"))
    assert failed(audit_feature_rows(infinite, SESSION)[0]) == ["feature_values_are_finite_or_missing"]
    crossed = good.with_columns(pl.lit(1_011).alias("bid_units"))
    assert failed(audit_feature_rows(crossed, SESSION)[0]) == ["feature_quotes_are_not_crossed"]
    assert failed(audit_feature_rows(good.reverse(), SESSION)[0]) == ["feature_times_do_not_go_back"]
    unknown = good.with_columns(pl.lit(float("nan")).alias("ofi"))
    checks, _ = audit_feature_rows(unknown, SESSION)
    assert [(c.name, c.blocking) for c in checks if not c.passed] == [("feature_columns_are_not_all_missing", False)]


class Rows:
    """Stands for feature rows: their receive times."""

    def __init__(self, ts_recv: np.ndarray) -> None:
        self.ts_recv = ts_recv

    def key(self, name: str) -> np.ndarray:
        return {"ts_recv": self.ts_recv}[name]


def label_frame() -> pl.DataFrame:
    times = np.arange(4) + SESSION.open_ns
    zeros = np.zeros(4, np.int64)
    return pl.DataFrame(
        {
            "ts_recv": times,
            "y": np.array([1, 0, -1, LABEL_MISSING], np.int8),
            "move_units": [3.0, 2.0, -3.0, float("nan")],
            "threshold_units": [2.0, 2.0, 2.0, 2.0],
            "ts_known": [*(times[:3] + 10), np.iinfo(np.int64).max],
            "arrive_ns": times + 5,
            "entry_bid_units": zeros,
            "entry_ask_units": zeros,
            "entry_bid_lots": zeros,
            "entry_ask_lots": zeros,
        }
    )


def test_labels_must_match_their_rows_be_known_later_and_mean_their_move() -> None:
    good = label_frame()
    rows = Rows(good["ts_recv"].to_numpy())
    assert failed(audit_labels(good, rows)[0]) == []
    assert failed(audit_labels(good[:3], rows)[0]) == ["labels_match_their_feature_rows"]
    early = good.with_columns(pl.col("ts_recv").alias("ts_known"))
    assert failed(audit_labels(early, rows)[0]) == ["labels_are_known_after_their_row"]
    flipped = good.with_columns(pl.Series("y", [-1, 0, -1, LABEL_MISSING], pl.Int8))
    assert failed(audit_labels(flipped, rows)[0]) == ["label_classes_agree_with_moves"]


def test_slow_rows_known_before_they_happened_or_twice_are_found() -> None:
    posts = pl.DataFrame(
        {
            "ts_known": [SESSION.open_ns + 2, SESSION.open_ns + 3],
            "ts_posted": [SESSION.open_ns + 1, SESSION.open_ns + 1],
            "symbol": ["ALFA", "ALFA"],
            "post_id": ["a", "b"],
            "text": ["up", "down"],
            "votes": [1, 2],
        }
    )
    assert failed(audit_slow("social", posts, SESSION)[0]) == []
    early = posts.with_columns(ts_posted=pl.col("ts_known") + 1)
    assert failed(audit_slow("social", early, SESSION)[0]) == ["slow_rows_are_known_only_after_they_happened"]
    twice = posts.with_columns(post_id=pl.lit("a"))
    assert failed(audit_slow("social", twice, SESSION)[0]) == ["slow_rows_are_unique"]
    other_day = posts.with_columns(pl.col("ts_known", "ts_posted") - 86_400 * NS_PER_S)
    assert failed(audit_slow("social", other_day, SESSION)[0]) == [
        "slow_rows_belong_to_the_session",
        "slow_rows_are_fresh",
    ]
    assert failed(audit_slow("social", posts.drop("votes"), SESSION)[0])[0] == "slow_columns_are_present"


def test_check_names_are_unique_and_warnings_are_among_them() -> None:
    for names in CHECK_NAMES.values():
        assert len(set(names)) == len(names)
    assert {name for names in CHECK_NAMES.values() for name in names} >= WARN_ONLY
    assert check_names("nothing_of_the_kind") == ()
    assert set(EVENT_SCHEMA) >= {"ts_event", "flags"}
    assert TRADE != EXECUTE
