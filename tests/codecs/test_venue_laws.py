"""The laws of a frame codec, for every venue of the catalogue."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.book import empty_book, fold_best
from marketdata.codecs.binance import COINM, SPOT, USDM, BinanceCodec
from marketdata.codecs.catalog import VENUES, UnknownVenue, VenueCodec, build_codec, infer_grid
from marketdata.events import CLEAR, CLOCK_RECORDED, F_LAST, EventArray
from marketdata.frames import QUARANTINE, RAISE, FrameBatch, FrameError, Gap
from tests.codecs.venue_frames import SESSIONS, batch, frames_of, instruments_of

MARKETS = {"binance_spot": SPOT, "binance_usdm": USDM, "binance_coinm": COINM}
EVERY_VENUE = pytest.mark.parametrize("venue", list(VENUES))


def folded(codec: VenueCodec, parts: Sequence[FrameBatch]) -> tuple[EventArray, list[Gap], Counter[str], object, int]:
    """Events, gaps, counts, symbols that want a snapshot at the end, and frames refused."""
    state, events, gaps, ignored, wants, refused = codec.init(), [], [], Counter(), None, 0
    for part in parts:
        state, decoded = codec.step(state, part)
        events.append(decoded.events)
        gaps += decoded.gaps
        ignored.update(decoded.ignored)
        wants = decoded.wants_snapshot
        refused += len(decoded.rejected)
    return np.concatenate(events), gaps, ignored, wants, refused


def codec_of(venue: str, policy: str = QUARANTINE) -> VenueCodec:
    return build_codec(venue, instruments_of(venue), policy)


def same(one: tuple, other: tuple) -> bool:
    return np.array_equal(one[0], other[0]) and one[1:] == other[1:]


def test_every_venue_has_a_session() -> None:
    assert set(SESSIONS) == set(VENUES)


def test_an_unknown_venue_is_named_with_those_there_are() -> None:
    with pytest.raises(UnknownVenue, match=r"'binanse'; there are binance_spot, "):
        build_codec("binanse", {}, RAISE)


@EVERY_VENUE
def test_a_session_gives_events_gaps_and_counts_of_every_kind(venue: str) -> None:
    events, _, ignored, _, refused = folded(codec_of(venue), [batch(frames_of(venue))])
    assert refused == 0
    assert ignored["opened"]
    assert len(events) >= 10
    assert set(events["instrument_id"].tolist()) == {3}
    assert set(events["clock_quality"].tolist()) == {CLOCK_RECORDED}
    assert (np.diff(events["ts_recv"]) >= 0).all()
    assert events["flags"][-1] & F_LAST


@EVERY_VENUE
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_cutting_the_stream_anywhere_changes_nothing(venue: str, data: st.DataObject) -> None:
    whole = batch(frames_of(venue))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1))))
    parts = [whole.part(a, b) for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert same(folded(codec_of(venue), parts), folded(codec_of(venue), [whole]))


@EVERY_VENUE
def test_frame_by_frame_gives_what_the_whole_gives(venue: str) -> None:
    whole = batch(frames_of(venue))
    singles = [whole.part(k, k + 1) for k in range(len(whole))]
    assert same(folded(codec_of(venue), singles), folded(codec_of(venue), [whole]))


@EVERY_VENUE
def test_later_frames_never_change_earlier_events(venue: str) -> None:
    frames = frames_of(venue)
    everything = folded(codec_of(venue), [batch(frames)])[0]
    for end in range(1, len(frames)):
        early = folded(codec_of(venue), [batch(frames[:end])])[0]
        assert np.array_equal(early, everything[: len(early)])


@EVERY_VENUE
def test_the_same_bytes_give_the_same_events(venue: str) -> None:
    codec, whole = codec_of(venue), batch(frames_of(venue))
    first = folded(codec, [whole])
    assert same(folded(codec, [whole]), first)
    one, other = (codec.step(codec.init(), whole)[1].events.tobytes() for _ in range(2))
    assert one == other


@EVERY_VENUE
def test_a_frame_cut_short_at_any_byte_is_refused_and_changes_nothing(venue: str) -> None:
    frames = [frame for frame in frames_of(venue) if frame[1] != b"pong"]
    for k, (stream, body) in enumerate(frames):
        if not body:
            continue
        before, after = frames[:k], frames[k + 1 :]
        gone = batch([*before, (stream, b""), *after])
        expected = None
        for end in {1, 2, len(body) // 3, len(body) // 2, len(body) - 2, len(body) - 1}:
            cut = batch([*before, (stream, body[:end]), *after])
            codec = codec_of(venue)
            state, early = codec.step(codec.init(), cut.part(0, k))
            state, refused = codec.step(state, cut.part(k, k + 1))
            assert [r.frame for r in refused.rejected] == [0], body[:end]
            assert refused.rejected[0].reason
            assert len(refused.events) == 0
            assert refused.gaps == ()
            _, late = codec.step(state, cut.part(k + 1, len(cut)))
            if expected is None:
                clean = codec_of(venue)
                clean_state, _ = clean.step(clean.init(), gone.part(0, k))
                _, expected = clean.step(clean_state, gone.part(k + 1, len(gone)))
            assert np.array_equal(late.events, expected.events)
            assert (late.gaps, late.ignored, late.wants_snapshot) == (
                expected.gaps,
                expected.ignored,
                expected.wants_snapshot,
            )
            assert len(early.rejected) == len(late.rejected) == 0


@EVERY_VENUE
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_corrupted_byte_gives_a_valid_frame_or_a_refused_one_that_changes_nothing(
    venue: str, data: st.DataObject
) -> None:
    frames = frames_of(venue)
    k = data.draw(st.sampled_from([k for k, (_, body) in enumerate(frames) if body]))
    stream, body = frames[k]
    at = data.draw(st.integers(0, len(body) - 1))
    changed = body[:at] + bytes([data.draw(st.integers(0, 255))]) + body[at + 1 :]
    spoiled = batch([*frames[:k], (stream, changed), *frames[k + 1 :]])
    codec = codec_of(venue)
    state, _ = codec.step(codec.init(), spoiled.part(0, k))
    state, here = codec.step(state, spoiled.part(k, k + 1))
    _, late = codec.step(state, spoiled.part(k + 1, len(spoiled)))
    if here.rejected:
        assert here.rejected[0].reason
        assert len(here.events) == 0
        clean = codec_of(venue)
        clean_state, _ = clean.step(clean.init(), spoiled.part(0, k))
        _, expected = clean.step(clean_state, spoiled.part(k + 1, len(spoiled)))
        assert np.array_equal(late.events, expected.events)
        assert (late.gaps, late.wants_snapshot) == (expected.gaps, expected.wants_snapshot)
    else:
        assert len(here.events) or here.ignored or here.wants_snapshot
    if venue in MARKETS:
        slow = BinanceCodec(MARKETS[venue], instruments_of(venue), QUARANTINE, complete_only=True)
        assert same(folded(slow, [spoiled]), folded(codec_of(venue), [spoiled]))


@EVERY_VENUE
def test_under_the_policy_raise_a_broken_frame_is_named(venue: str) -> None:
    stream = frames_of(venue)[1][0]
    broken = batch([(stream, b""), (stream, b'{"surely":"not","known":')])
    with pytest.raises(FrameError, match=rf"^{venue}: frame 1 of {stream}, byte 24: .*truncated") as raised:
        folded(codec_of(venue, RAISE), [broken])
    assert (raised.value.venue, raised.value.stream, raised.value.frame) == (venue, stream, 1)


@EVERY_VENUE
def test_a_frame_of_no_known_kind_is_refused_with_its_reason(venue: str) -> None:
    stream = frames_of(venue)[1][0]
    codec = codec_of(venue)
    bodies = [b"{}", b'{"topic":"new","channel":"new","type":"new","feed":"new","table":"new","e":"new"}', b"[]", b"7"]
    _, decoded = codec.step(codec.init(), batch([(stream, body) for body in bodies]))
    assert [r.frame for r in decoded.rejected] == [0, 1, 2, 3]
    assert all(r.reason for r in decoded.rejected)


@EVERY_VENUE
def test_the_book_is_never_crossed_at_the_end_of_a_group(venue: str) -> None:
    events = folded(codec_of(venue), [batch(frames_of(venue))])[0]
    best = fold_best(empty_book(64), events)
    ends = (events["flags"] & F_LAST > 0) & (best[:, 1] > 0) & (best[:, 3] > 0)
    assert ends.any()
    assert (best[ends, 0] < best[ends, 2]).all()


@EVERY_VENUE
def test_every_gap_has_its_clear(venue: str) -> None:
    events, gaps, *_ = folded(codec_of(venue), [batch(frames_of(venue))])
    lone = events[(events["action"] == CLEAR) & (events["flags"] & F_LAST > 0)]
    assert {gap.ts_recv for gap in gaps} <= set(lone["ts_recv"].tolist())


@EVERY_VENUE
def test_the_grid_is_found_in_the_frames(venue: str) -> None:
    symbol, price, lot, frames = SESSIONS[venue]
    found = infer_grid(venue, batch(frames), first_id=3)[symbol]
    assert found.price_decimals <= max(price, 0.1)
    assert found.lot_size <= max(lot, 1.0)
    codec = build_codec(venue, {symbol: found}, QUARANTINE)
    assert folded(codec, [batch(frames)])[4] == 0


@EVERY_VENUE
def test_a_connection_names_its_symbols_and_says_nothing_of_others(venue: str) -> None:
    codec = codec_of(venue)
    [symbol] = codec.instruments
    endpoints = codec.endpoints([symbol])
    assert endpoints
    for endpoint in endpoints:
        assert endpoint.url.startswith("wss://")
        assert symbol.lower() in (endpoint.url + "".join(endpoint.hello)).lower()
    url = codec.snapshot_url(symbol)
    assert url is None or (url.startswith("https://") and symbol in url)
