"""Sources: presets that fit the data, one clear error for what does not, and a declared receive clock."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from marketdata.events import CLOCK_MODELLED, empty_events
from marketdata.presets import SOURCES
from marketdata.receive_clock import apply_receive_clock
from marketdata.settings import LatencySettings, SettingsError
from marketdata.sources import SourceError, build_source, preset
from marketdata.validation import audit_events, audit_raw_ticks, audit_slow
from tests.marketdata.recordings import write_lobster

DAY = date(2026, 1, 5)


def clocked(rows: int, latency: LatencySettings, day: date = DAY, instrument: int = 0) -> np.ndarray:
    events = empty_events(rows)
    events["ts_event"] = np.arange(rows) * 10_000
    events["sequence"] = np.arange(rows) // 2
    events["instrument_id"] = instrument
    return apply_receive_clock(events, latency, day)


def test_the_receive_clock_is_late_by_base_and_jitter_monotone_and_one_for_a_group() -> None:
    latency = LatencySettings(feed_ns=1_000_000, feed_jitter_ns=2_000)
    events = clocked(10_000, latency)
    delay = events["ts_recv"] - events["ts_event"]
    assert (delay.min(), delay.max()) == (1_000_000, 1_002_000)
    assert abs(delay.mean() - 1_001_000) < 30
    assert (events["clock_quality"] == CLOCK_MODELLED).all()
    assert (np.diff(delay.reshape(-1, 2)) == 0).all()
    crowded = clocked(1_000, LatencySettings(feed_ns=0, feed_jitter_ns=100_000))
    assert (np.diff(crowded["ts_recv"]) >= 0).all()
    assert (crowded["ts_recv"] >= crowded["ts_event"]).all()


def test_the_receive_clock_is_a_function_of_seed_date_and_instrument() -> None:
    latency = LatencySettings()
    first = clocked(100, latency)["ts_recv"]
    np.testing.assert_array_equal(first, clocked(100, latency)["ts_recv"])
    others = [
        clocked(100, latency.model_copy(update={"feed_seed": 6})),
        clocked(100, latency, day=date(2026, 1, 6)),
        clocked(100, latency, instrument=1),
    ]
    assert all((first != other["ts_recv"]).any() for other in others)


def test_a_wrong_source_folder_or_path_is_one_line_that_names_it(tmp_path: Path) -> None:
    assert SOURCES == ("simulated", "lobster", "lean_equity", "crypto_2026", "recorded")
    cases = {
        ("nope", None): "unknown source 'nope'; there are simulated, lobster",
        ("lobster", None): "source lobster needs the folder of its data",
        ("lobster", tmp_path / "absent"): "absent: no such folder",
        ("lobster", tmp_path): "no pair of SYMBOL_DATE_START_END_message_L",
        ("crypto_2026", tmp_path): r"BTCUSDT_1h_\*\.csv\.gz: no such file",
        ("simulated", tmp_path): "takes no data folder",
    }
    for (source, folder), message in cases.items():
        with pytest.raises(SettingsError, match=message) as caught:
            preset(source, folder)
        assert "\n" not in str(caught.value)
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="file: not a folder"):
        preset("lobster", tmp_path / "file")
    moved = preset("lobster", write_lobster(tmp_path / "here")).model_copy(update={"data": tmp_path / "gone"})
    with pytest.raises(SettingsError, match="gone: no such folder"):
        build_source(moved)


def test_damaged_files_are_refused_with_file_row_and_field(tmp_path: Path) -> None:
    folder = write_lobster(tmp_path)
    settings = preset("lobster", folder)
    source = build_source(settings)
    path = folder / "AMZN_2012-06-21_34200000_57600000_message_3.csv.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"message_3\.csv\.gz: cannot be read") as caught:
        source.raw_ticks(date(2012, 6, 21), "AMZN")
    assert caught.value.file == str(path)
    path.unlink()
    with pytest.raises(SourceError, match="no such file"):
        source.raw_ticks(date(2012, 6, 21), "AMZN")
    with pytest.raises(SourceError, match="it has no options data"):
        source.slow_raw("options", DAY)


def test_no_signal_means_the_market_in_which_nothing_pays() -> None:
    assert preset("simulated", None).simulator.world == "market"
    assert preset("simulated", None, signal=0.0).simulator.world == "n1"
    assert preset("simulated", None).sessions == 9


def test_the_simulated_source_makes_a_session_once_and_the_same_again() -> None:
    settings = preset("simulated", None, sessions=2)
    small = settings.simulator.model_copy(update={"events_per_session": 4_000, "posts": 5, "transfers": 5})
    settings = settings.model_copy(update={"simulator": small, "instruments": settings.instruments[:2]})
    source = build_source(settings)
    session = source.sessions()[0]
    raw = source.raw_ticks(DAY, "ALFA")
    assert source.raw_ticks(DAY, "ALFA") is raw
    events = source.events(raw, DAY, "ALFA")
    checks = audit_raw_ticks(raw, settings, "ALFA")[0]
    checks += audit_events(
        events, settings.instrument("ALFA"), session, traded_lots=source.traded_lots(raw, DAY, "ALFA")
    )[0]
    for kind in source.slow_kinds:
        checks += audit_slow(kind, source.slow_raw(kind, DAY), session)[0]
    assert [check for check in checks if not check.passed] == []
    again = build_source(settings)
    assert again.raw_ticks(DAY, "ALFA").equals(raw)
    np.testing.assert_array_equal(again.events(raw, DAY, "ALFA"), events)
    with pytest.raises(SourceError, match="simulated ALFA 2026-01-05: field size_lots: the column is missing"):
        source.events(raw.drop("size_lots"), DAY, "ALFA")
    with pytest.raises(SourceError, match="simulated ALFA 2026-01-05: event column side holds"):
        source.events(raw.with_columns(pl.lit(None, pl.Int8).alias("side")), DAY, "ALFA")
