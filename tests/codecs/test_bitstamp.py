"""Bitstamp by level and by order: what the rules make of small sessions, and five recorded hours of 2015."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from marketdata.book import empty_book, fold_best
from marketdata.codecs.bitstamp_orders import GHOST_NS
from marketdata.codecs.catalog import build_codec, infer_grid
from marketdata.events import ADD, ASK, BID, CLEAR, DELETE, EXECUTE, F_LAST, F_SNAPSHOT, LEVEL, EventArray
from marketdata.frames import QUARANTINE, RAISE, FrameBatch
from marketdata.recordings import read_bitstamp_log
from tests.codecs.venue_frames import START_NS, batch, frames_of, instruments_of


def told(venue: str, frames: FrameBatch) -> EventArray:
    codec = build_codec(venue, instruments_of(venue), RAISE)
    return codec.step(codec.init(), frames)[1].events


def rows(events: EventArray) -> list[tuple[int, int, int, int, int]]:
    return [
        (int(e["action"]), int(e["side"]), int(e["price_units"]), int(e["size_lots"]), int(e["order_id"]))
        for e in events
    ]


def test_updates_kept_for_the_snapshot_follow_it_with_its_receive_time() -> None:
    events = told("bitstamp", batch(frames_of("bitstamp")[:5]))
    assert rows(events) == [
        (CLEAR, 0, 0, 0, 0),
        (LEVEL, BID, 10_000, 10, 0),
        (LEVEL, ASK, 10_010, 20, 0),
        (LEVEL, BID, 9_990, 30, 0),
    ]
    assert set(events["ts_recv"].tolist()) == {START_NS + 4_000_000}
    assert (events["flags"] & F_SNAPSHOT > 0).tolist() == [True, True, True, False]


def test_an_aggressor_is_told_once_by_the_order_it_met() -> None:
    events = told("bitstamp_l3", batch(frames_of("bitstamp_l3")[:9]))
    assert rows(events) == [(ADD, BID, 10_000, 10, 1), (ADD, ASK, 10_010, 20, 2), (EXECUTE, ASK, 10_010, 5, 2)]


def test_what_is_left_of_an_aggressor_rests_once_what_it_crossed_is_gone() -> None:
    events = told("bitstamp_l3", batch(frames_of("bitstamp_l3")))[3:]
    number = events["sequence"] == events["sequence"][events["action"] == EXECUTE][-1]
    assert rows(events[number]) == [(EXECUTE, ASK, 10_010, 15, 2), (ADD, BID, 10_020, 5, 4)]


def test_a_snapshot_replays_what_is_newer_than_it() -> None:
    events = told("bitstamp_l3", batch(frames_of("bitstamp_l3")[:10]))[3:]
    assert rows(events) == [
        (CLEAR, 0, 0, 0, 0),
        (ADD, BID, 10_000, 10, 1),
        (ADD, ASK, 10_010, 20, 2),
        (EXECUTE, ASK, 10_010, 5, 2),
    ]


def test_an_order_whose_removal_was_missed_goes_after_five_seconds() -> None:
    frames = frames_of("bitstamp_l3")
    made = batch([*frames[:4], frames[10], frames[15]])
    made.ts_recv[-1] += GHOST_NS + 1_000_000_000
    events = told("bitstamp_l3", made)[2:]
    assert rows(events) == [(ADD, ASK, 10_030, 20, 5), (DELETE, ASK, 10_010, 20, 2), (ADD, BID, 10_020, 20, 4)]


def test_the_other_half_of_a_trade_that_was_told_already_is_no_execution() -> None:
    frames = frames_of("bitstamp_l3")
    filled, shrunk = frames[12], frames[11]
    events = told("bitstamp_l3", batch([*frames[:4], frames[10], filled, shrunk]))[2:]
    assert rows(events) == [(EXECUTE, ASK, 10_010, 20, 2), (ADD, BID, 10_020, 20, 4), (EXECUTE, BID, 10_020, 15, 4)]
    same = (
        shrunk[0],
        shrunk[1].replace(b'"amount":0.5', b'"amount":0.0').replace(b'"amount_str":"0.5"', b'"amount_str":"0.0"'),
    )
    events = told("bitstamp_l3", batch([*frames[:4], frames[10], filled, same]))[2:]
    assert rows(events) == [(EXECUTE, ASK, 10_010, 20, 2), (ADD, BID, 10_020, 20, 4), (DELETE, BID, 10_020, 20, 4)]


@pytest.mark.realdata
def test_five_recorded_hours_agree_with_the_recorded_tops_of_book(shared_data: Path) -> None:
    recording = read_bitstamp_log(shared_data / "market/bitstamp_l3_2015/2015-05-01.log.xz")
    codec = build_codec("bitstamp_l3", infer_grid("bitstamp_l3", recording), QUARANTINE)
    _, decoded = codec.step(codec.init(), recording)
    events = decoded.events
    assert decoded.rejected == ()
    assert decoded.ignored == {
        "unknown_order": 226, "trade": 575, "order_book": 5_011, "aggressor": 864, "other_half": 52, "ghost_order": 38,
    }  # fmt: skip
    best = fold_best(empty_book(8_192), events)
    ends = (events["flags"] & F_LAST > 0) & (best[:, 1] > 0) & (best[:, 3] > 0)
    assert (best[ends, 0] < best[ends, 2]).all()
    equal = []
    for k in range(len(recording)):
        frame = recording.frame(k)
        if b'"event":"order_book"' not in frame:
            continue
        row = np.searchsorted(events["ts_recv"], recording.ts_recv[k], side="right") - 1
        if recording.ts_recv[k] - recording.ts_recv[0] < 3_600 * 10**9:
            continue  # what rested before the start is unknown: after an hour hardly any of it is left
        told_book = msgspec.json.decode(frame)["data"]
        top = [round(float(told_book[side][0][0]) * 100) for side in ("bids", "asks")]
        equal.append([best[row, 0] == top[0], best[row, 2] == top[1]])
    trades = [
        (int(recording.ts_recv[k]), round(msgspec.json.decode(recording.frame(k))["data"]["amount"] * 1e8))
        for k in range(len(recording))
        if b'"event":"trade"' in recording.frame(k)
    ]
    executed = events[events["action"] == EXECUTE]
    for event in executed:
        near = [t for t in trades if abs(t[0] - event["ts_recv"]) < 3 * 10**9 and abs(t[1] - event["size_lots"]) <= 2]
        assert near, event
        trades.remove(near[0])
    assert (len(executed), len(trades)) == (560, 15)  # orders from before the start are unknown
    assert len(equal) > 3_500
    assert np.mean(equal, axis=0).min() > 0.995
