"""The clock's offset and drift: found back where they are known, and in the Binance recordings of 2024."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.clock_offset import (
    BASE_LATENCY_NS,
    ClockOffset,
    ClockOffsetError,
    correct,
    estimate_from_events,
    estimate_offset,
)
from marketdata.codecs.catalog import build_codec, infer_grid
from marketdata.events import CLOCK_OFFSET_CORRECTED, CLOCK_RECORDED, F_TS_CARRIED, empty_events
from marketdata.frames import QUARANTINE, join_batches
from marketdata.recordings import read_binance_raw

START = 1_700_000_000_000_000_000
MS = 1_000_000


def capture(
    error_ms: float, drift_ppm: float, seconds: float, rows: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Event times, and receive times by a clock that is off by an error and drifts; latency 0.1 ms + exponential 2 ms."""
    rng = np.random.default_rng(seed)
    event = START + np.sort(rng.integers(0, int(seconds * 1e9), rows))
    true = event + 100_000 + rng.exponential(2 * MS, rows).astype(np.int64)
    middle = START + int(seconds * 5e8)
    return event, true + int(error_ms * MS) + np.rint((true - middle) * drift_ppm * 1e-6).astype(np.int64)


def test_offset_and_drift_are_found_back() -> None:
    event, recv = capture(-1_270.0, -5.0, 600.0, 20_000)
    found = estimate_offset(event, recv, base_latency_ns=100_000)
    assert found.offset_ns == pytest.approx(-1_270 * MS, abs=0.05 * MS)
    assert found.drift_ppm == pytest.approx(-5.0, abs=0.2)
    assert found.rows == 20_000


def test_a_base_latency_declared_too_small_makes_every_time_too_early_by_as_much() -> None:
    event, recv = capture(-1_270.0, -5.0, 600.0, 20_000)
    told, none = (estimate_offset(event, recv, base_latency_ns=base) for base in (100_000, 0))
    assert none.offset_ns - told.offset_ns == 100_000


def test_a_short_capture_has_a_constant_offset() -> None:
    event, recv = capture(40.0, 100.0, 20.0, 5_000)
    assert estimate_offset(event, recv).drift_ppm == 0.0
    event, recv = capture(40.0, 100.0, 600.0, 500)
    found = estimate_offset(event, recv)
    assert (found.drift_ppm, found.offset_ns) == (0.0, int((recv - event).min()) - BASE_LATENCY_NS)


def test_an_envelope_that_no_quartz_explains_is_latency() -> None:
    event, recv = capture(0.0, 400.0, 600.0, 20_000)
    assert estimate_offset(event, recv).drift_ppm == 0.0


@given(
    error=st.floats(-5_000, 5_000),
    drift=st.floats(-150, 150),
    seconds=st.floats(1, 5_000),
    rows=st.integers(1, 3_000),
    seed=st.integers(0, 99),
)
def test_no_message_comes_before_it_happened_and_the_order_stays(
    error: float, drift: float, seconds: float, rows: int, seed: int
) -> None:
    event, recv = capture(error, drift, seconds, rows, seed)
    events = empty_events(rows)
    order = np.argsort(recv, kind="stable")
    events["ts_event"], events["ts_recv"], events["sequence"] = event[order], recv[order], np.arange(rows)
    offset = estimate_from_events(events)
    fixed = correct(events, offset)
    assert (fixed["ts_recv"] - fixed["ts_event"]).min() >= min(BASE_LATENCY_NS, 1)
    assert (np.diff(fixed["ts_recv"]) >= 0).all()
    assert (fixed["sequence"] == events["sequence"]).all()
    assert set(fixed["clock_quality"].tolist()) == {CLOCK_OFFSET_CORRECTED}
    assert set(events["clock_quality"].tolist()) == {CLOCK_RECORDED}


def test_carried_times_say_nothing_about_the_clock() -> None:
    events = empty_events(2)
    events["ts_event"], events["ts_recv"] = [START, START - 10**12], [START + MS, START + 2 * MS]
    events["flags"] = [0, F_TS_CARRIED]
    assert estimate_from_events(events).offset_ns == MS - BASE_LATENCY_NS
    events["flags"] = F_TS_CARRIED
    with pytest.raises(ClockOffsetError, match="no event has an exchange time of its own"):
        estimate_from_events(events)


def test_events_that_were_not_in_the_estimate_are_kept_from_coming_too_early() -> None:
    events = empty_events(3)
    events["ts_event"] = [START, START + 10 * MS, START + 11 * MS]
    events["ts_recv"] = [START + 5 * MS, START + 6 * MS, START + 12 * MS]
    fixed = correct(events, ClockOffset(2 * MS, 0.0, START, 0, 1))
    assert (fixed["ts_recv"] - START).tolist() == [3 * MS, 10 * MS, 11 * MS]


SESSIONS = [
    ("binance_spot", ["spot/btcusdt_20240808", "spot/btcusdt_20240809"], "BTCUSDT"),
    ("binance_spot", ["spot/ethusdt_20240808"], "ETHUSDT"),
    ("binance_usdm", ["usdm/btcusdt_20240808"], "BTCUSDT"),
    ("binance_usdm", ["usdm/ethusdt_20240808"], "ETHUSDT"),
    ("binance_coinm", ["cm/btcusd_perp_20240808", "cm/btcusd_perp_20240809"], "BTCUSD_PERP"),
    ("binance_coinm", ["cm/ethusd_perp_20240808"], "ETHUSD_PERP"),
]


@pytest.mark.realdata
@pytest.mark.parametrize(("venue", "files", "symbol"), SESSIONS)
def test_the_recorders_clock_of_2024_was_1270_ms_behind(
    shared_data: Path, venue: str, files: list[str], symbol: str
) -> None:
    bare = build_codec(venue, {}, QUARANTINE)
    url = bare.snapshot_url(symbol)
    assert url is not None
    folder = shared_data / "market/binance_raw_2024"
    recording = join_batches([read_binance_raw(folder / f"{name}.gz", "wss://recorded", url) for name in files])
    codec = build_codec(venue, infer_grid(venue, recording), QUARANTINE)
    events = codec.step(codec.init(), recording)[1].events
    offset = estimate_from_events(events)
    assert offset.offset_ns == pytest.approx(-1_270 * MS, abs=5 * MS)
    assert -10 < offset.drift_ppm < 0
    fixed = correct(events, offset)
    assert (fixed["ts_recv"] >= fixed["ts_event"]).all()
    assert (np.diff(fixed["ts_recv"]) >= 0).all()
    assert np.isin(events["ts_recv"], recording.ts_recv).all()  # raw values kept
    assert np.median(fixed["ts_recv"] - fixed["ts_event"]) < 15 * MS
