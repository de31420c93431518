"""Readers of other people's recordings: the frames byte for byte, receive times exact, other layouts named."""

import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest

from marketdata.frames import FrameBatch, frame_batch, join_batches
from marketdata.recordings import (
    RecordingError,
    read_binance_arrays,
    read_binance_raw,
    read_bitstamp_log,
    read_cryptofeed,
)


def lines(batch: FrameBatch) -> list[tuple[int, str, bytes]]:
    return [(int(batch.ts_recv[k]), batch.streams[batch.stream[k]], batch.frame(k)) for k in range(len(batch))]


def zipped(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()))
    return path


def test_binance_lines_keep_their_nanoseconds_and_snapshots_get_their_address(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.gz", '1723161255030314667 {"x":1}\n1723161255030314668 {"lastUpdateId":5}\n')
    assert lines(read_binance_raw(path, "wss://s", "https://r?symbol=A")) == [
        (1_723_161_255_030_314_667, "wss://s", b'{"x":1}'),
        (1_723_161_255_030_314_668, "https://r?symbol=A", b'{"lastUpdateId":5}'),
    ]


def test_a_line_of_another_layout_is_named(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.gz", '1723161255030314667 {"x":1}\n{"y":2}\n')
    with pytest.raises(RecordingError, match=r"a\.gz, line 2: not '<receive time in ns> <JSON>'"):
        read_binance_raw(path, "wss://s", "")


def test_cryptofeed_files_are_merged_by_time_with_an_empty_frame_for_each_connection(tmp_path: Path) -> None:
    socket = zipped(
        tmp_path / "X.ws.1.0.gz",
        'wss://x <-> 1633998511.159679\nwss://x <- 1633998511.2: {"op":1}\n1633998512.0633569: {"a":1}\n'
        '1633998512.5: {"b":"1: 2"}\n1633998513.5: \n',
    )
    answer = zipped(tmp_path / "X.http.0.0.gz", 'https://x/depth?symbol=A -> 1633998512.320639: {"lastUpdateId":1}\n\n')
    assert lines(read_cryptofeed([socket], [answer])) == [
        (1_633_998_511_159_679_000, "wss://x", b""),
        (1_633_998_512_063_356_900, "wss://x", b'{"a":1}'),
        (1_633_998_512_320_639_000, "https://x/depth?symbol=A", b'{"lastUpdateId":1}'),
        (1_633_998_512_500_000_000, "wss://x", b'{"b":"1: 2"}'),
    ]


@pytest.mark.parametrize("text", ['{"a":1}\n', '1633998512.5: {"a":1}\n'])
def test_cryptofeed_frames_need_a_time_and_an_opened_connection(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecordingError, match="line 1: not a received frame of an opened connection"):
        read_cryptofeed([zipped(tmp_path / "X.ws.1.0.gz", text)])
    with pytest.raises(RecordingError, match="line 1: not '<url> -> <epoch>: <JSON>'"):
        read_cryptofeed([], [zipped(tmp_path / "X.http.0.0.gz", text)])


def test_arrays_are_merged_by_their_own_time_behind_the_snapshot(tmp_path: Path) -> None:
    snapshot = zipped(tmp_path / "s.json.gz", '{"lastUpdateId":5}\n')
    updates = zipped(tmp_path / "u.json.gz", '[{"E": 1000, "U":1},{"E":3000}]')
    trades = zipped(tmp_path / "t.json.gz", '[{"E":1000,"t":1},{"E":2000}]')
    batch = read_binance_arrays(snapshot, [updates, trades], "wss://s", "https://r")
    assert lines(batch) == [
        (1_000_000_000, "https://r", b'{"lastUpdateId":5}'),
        (1_000_000_000, "wss://s", b'{"E": 1000, "U":1}'),
        (1_000_000_000, "wss://s", b'{"E":1000,"t":1}'),
        (2_000_000_000, "wss://s", b'{"E":2000}'),
        (3_000_000_000, "wss://s", b'{"E":3000}'),
    ]
    with pytest.raises(RecordingError, match=r"s\.json\.gz: not a JSON array"):
        read_binance_arrays(snapshot, [snapshot], "", "")


def test_a_bitstamp_log_is_put_back_into_frames(tmp_path: Path) -> None:
    path = tmp_path / "log.xz"
    path.write_bytes(lzma.compress(b'1430438404518 order_created {"id": 1}\n1430438404600 trade {"id": 2}\n'))
    assert lines(read_bitstamp_log(path)) == [
        (
            1_430_438_404_518_000_000,
            "wss://ws.bitstamp.net/",
            b'{"data":{"id": 1},"channel":"live_orders_btcusd","event":"order_created"}',
        ),
        (
            1_430_438_404_600_000_000,
            "wss://ws.bitstamp.net/",
            b'{"data":{"id": 2},"channel":"live_trades_btcusd","event":"trade"}',
        ),
    ]
    path.write_bytes(lzma.compress(b"order_created {}\n"))
    with pytest.raises(RecordingError, match="line 1: not '<receive time in ms> <event> <JSON>'"):
        read_bitstamp_log(path)


def test_batches_are_joined_with_each_stream_named_once() -> None:
    one, two = frame_batch([(1, b"a"), (2, b"bc")], "x"), frame_batch([(3, b""), (4, b"d")], "y")
    joined = join_batches([one, two, one])
    assert lines(joined) == [*lines(one), *lines(two), *lines(one)]
    assert joined.streams == ("x", "y")
    assert len(join_batches([])) == 0
    assert np.array_equal(join_batches([one]).starts, one.starts)
