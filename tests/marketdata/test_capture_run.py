"""A live venue is recorded whole, whatever it does, and what was recorded gives the venue's own book."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from marketdata.book import empty_book, fold_best
from marketdata.capture import CaptureReader, CaptureWriter, capture_files
from marketdata.capture_format import OPEN_SUFFIX
from marketdata.capture_run import CaptureResult, CaptureState, capture, recover_all
from marketdata.codecs.catalog import UnknownVenue, build_codec
from marketdata.events import EventArray
from marketdata.feeds.websocket_settings import WebSocketSettings
from marketdata.frames import QUARANTINE
from marketdata.ingest import find_inputs, instruments_of
from tests.feeds.binance_like import Market, addresses
from tests.feeds.exchange_server import ExchangeServer, Fault

QUICK = WebSocketSettings(
    first_wait_s=0.01, longest_wait_s=0.05, rest_first_wait_s=0.01, rest_longest_wait_s=0.05, idle_s=0.01, proxy=None
)


def record(
    folder: Path, market: Market, faults: dict[int, Fault] | None = None
) -> tuple[CaptureResult, ExchangeServer]:
    stop, latest = threading.Event(), [CaptureState(0.0, 0, 0, 0, 0)]
    with ExchangeServer(market.script, market.books, faults or {}) as server:

        def has_all() -> bool:
            """Whether everything that was sent is recorded: frames, answers, and a mark for each connection."""
            return latest[0].frames == server.sent + server.rest_requests + server.connections

        def watch(state: CaptureState) -> None:
            latest[0] = state
            if server.is_done and has_all():
                stop.set()

        server.is_abreast = lambda: server.rest_requests >= server.wanted_requests and has_all()
        server.connects = lambda: 1 + latest[0].reconnects if latest[0].frames else 0

        result = capture(
            "binance_spot",
            list(market.books),
            folder,
            seconds=240.0,
            stop=stop,
            addresses=addresses(server),
            settings=QUICK,
            progress=watch,
            every_s=0.0,
        )
    return result, server


def frames_of(folder: Path) -> list[bytes]:
    return [
        batch.frame(k) for path in capture_files(folder) for batch in CaptureReader(path) for k in range(len(batch))
    ]


def decoded(folder: Path) -> tuple[dict[str, EventArray], int]:
    """Return the events of each symbol as a codec reads them from the capture, and the gaps that it finds."""
    batches = [batch for path in capture_files(folder) for batch in CaptureReader(path)]
    (given,) = find_inputs([folder])
    instruments = {
        s: item.model_copy(update={"instrument_id": k}) for k, (s, item) in enumerate(instruments_of(given).items())
    }
    codec = build_codec("binance_spot", instruments, QUARANTINE)
    state, parts, gaps = codec.init(), [], 0
    for batch in batches:
        state, found = codec.step(state, batch)
        parts.append(found.events)
        gaps += len(found.gaps)
    events = np.concatenate(parts)
    return {s: events[events["instrument_id"] == item.instrument_id] for s, item in instruments.items()}, gaps


def best_of(market: Market, symbol: str) -> tuple[int, int]:
    bids, asks = market.truth[symbol][market.last[symbol]]
    return max(price for price, _ in bids), min(price for price, _ in asks)


def test_every_frame_of_a_clean_stream_is_recorded_and_gives_the_venues_book(tmp_path: Path) -> None:
    market = Market(["AAAUSDT", "BBBUSDT"], 300, 1)
    result, _ = record(tmp_path, market)
    kept = frames_of(tmp_path)
    assert [frame for frame in kept if b'"stream"' in frame] == [frame.payload for frame in market.script]
    assert sum(b"lastUpdateId" in frame for frame in kept) == 2
    assert result.state.frames == len(kept)
    assert result.state.gaps == 0
    events, gaps = decoded(tmp_path)
    assert gaps == 0
    for symbol in market.books:
        best = fold_best(empty_book(), events[symbol])[-1]
        assert (best[0], best[2]) == best_of(market, symbol)
    header = CaptureReader(result.files[0]).header
    assert (header.venue, header.symbols) == ("binance_spot", ("AAAUSDT", "BBBUSDT"))
    assert any("depth?symbol=AAAUSDT" in stream for path in result.files for stream in all_streams(path))


def all_streams(path: Path) -> tuple[str, ...]:
    return [batch.streams for batch in CaptureReader(path)][-1]


def test_drops_and_a_lost_connection_are_recorded_as_they_came_and_the_book_is_right_again(tmp_path: Path) -> None:
    market = Market(["AAAUSDT"], 400, 2)
    places = market.depth_places()
    result, server = record(tmp_path, market, {places[60]: Fault("drop"), places[150]: Fault("disconnect", count=5)})
    assert server.happened["drop"] == server.happened["disconnect"] == 1
    assert result.state.reconnects == 1
    assert result.state.gaps >= 2
    assert sum(b"lastUpdateId" in frame for frame in frames_of(tmp_path)) >= 3
    events, gaps = decoded(tmp_path)
    assert gaps == result.state.gaps
    best = fold_best(empty_book(), events["AAAUSDT"])[-1]
    assert (best[0], best[2]) == best_of(market, "AAAUSDT")


def test_a_frame_that_cannot_be_read_is_recorded_all_the_same(tmp_path: Path) -> None:
    market = Market(["AAAUSDT"], 200, 3)
    result, _ = record(tmp_path, market, {90: Fault("garbage")})
    assert result.state.rejected == 1

    def is_whole(frame: bytes) -> bool:
        try:
            json.loads(frame)
        except ValueError:
            return False
        return True

    assert sum(not is_whole(frame) for frame in frames_of(tmp_path) if frame) == 1


def test_files_of_dead_writers_are_closed_and_those_of_living_ones_left_alone(tmp_path: Path) -> None:
    living = CaptureWriter(tmp_path, "binance_spot")
    living.write("s", 1, b"frame")
    living.flush()
    (path,) = tmp_path.glob(f"*{OPEN_SUFFIX}")
    dead = tmp_path / f"dead_00000{OPEN_SUFFIX}"
    dead.write_bytes(path.read_bytes())
    assert [p.name for p in recover_all(tmp_path)] == ["dead_00000.fscap.zst"]
    assert not dead.exists()
    assert path.exists()
    living.close()
    assert len(capture_files(tmp_path)) == 2


def test_an_unknown_venue_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UnknownVenue, match="unknown venue 'nasdaq'"):
        capture("nasdaq", ["X"], tmp_path / "out", seconds=1)
    assert not (tmp_path / "out").exists()
