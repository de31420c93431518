"""Events, clocks, settings and paths keep what they are given and refuse what they cannot."""

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from marketdata.clock import Calendar, from_ns, to_ns
from marketdata.events import EVENT_DTYPE, EVENT_SCHEMA, empty_events, events_from_frame, events_to_frame, merge_events
from marketdata.paths import DataRoot, PartitionKey, default_root
from marketdata.presets import preset
from marketdata.settings import SettingsError, load_settings, save_settings


def random_events(rows: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    events = empty_events(rows)
    for name in EVENT_SCHEMA:
        kind = EVENT_DTYPE.fields[name][0]
        events[name] = rng.integers(np.iinfo(kind).min, np.iinfo(kind).max, rows, dtype=kind)
    return events


def test_events_survive_the_way_through_a_frame_and_back() -> None:
    events = random_events(50)
    frame = events_to_frame(events)
    assert dict(frame.schema) == EVENT_SCHEMA
    back = events_from_frame(frame)
    assert all(np.array_equal(back[name], events[name]) for name in EVENT_SCHEMA)


def test_an_event_frame_without_a_column_or_with_a_null_is_refused_by_name() -> None:
    frame = events_to_frame(random_events(3))
    with pytest.raises(ValueError, match="lacks column\\(s\\) side"):
        events_from_frame(frame.drop("side"))
    with pytest.raises(ValueError, match="size_lots holds 3 null"):
        events_from_frame(frame.with_columns(pl.lit(None, pl.Int64).alias("size_lots")))


def test_merging_orders_by_receive_time_and_keeps_each_part_in_order() -> None:
    left, right = empty_events(3), empty_events(2)
    left["ts_recv"], right["ts_recv"] = [1, 2, 2], [2, 3]
    left["sequence"], right["sequence"] = [0, 1, 2], [10, 11]
    assert merge_events([left, right])["sequence"].tolist() == [0, 1, 2, 10, 11]


def test_times_go_to_nanoseconds_and_back_and_a_naive_time_is_refused() -> None:
    moment = datetime(2026, 3, 8, 7, 30, 1, 250, tzinfo=UTC)
    assert from_ns(to_ns(moment)) == moment
    with pytest.raises(ValueError, match="no time zone"):
        to_ns(moment.replace(tzinfo=None))


def test_sessions_follow_daylight_saving_and_holidays() -> None:
    calendar = Calendar("XNYS", "America/New_York")
    before, after = calendar.session(date(2026, 3, 6)), calendar.session(date(2026, 3, 9))
    assert [from_ns(s.open_ns).hour * 60 + from_ns(s.open_ns).minute for s in (before, after)] == [870, 810]
    with pytest.raises(ValueError, match="not a session"):
        calendar.session(date(2026, 1, 1))
    assert [s.date.day for s in calendar.first_sessions(date(2026, 1, 1), 2)] == [2, 5]
    assert Calendar("24/7", "UTC").session(date(2026, 1, 1)).close_ns == to_ns(datetime(2026, 1, 2, tzinfo=UTC))


def test_the_session_closed_last_is_the_one_before_until_the_close() -> None:
    calendar = Calendar("XNYS", "America/New_York")
    monday = calendar.session(date(2026, 1, 5))
    assert calendar.last_closed(monday.close_ns - 1).date == date(2026, 1, 2)
    assert calendar.last_closed(monday.close_ns).date == date(2026, 1, 5)


def test_settings_survive_the_file_and_errors_name_file_and_field(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    settings = preset("simulated", None, signal=0.5, sessions=4)
    save_settings(settings, path)
    assert load_settings(path) == settings
    path.write_text(path.read_text().replace("every_events = 50", "every_events = 0"))
    with pytest.raises(SettingsError, match=r"settings\.toml: sampling\.every_events"):
        load_settings(path)
    with pytest.raises(SettingsError, match="flowsense init"):
        load_settings(tmp_path / "absent.toml")
    with pytest.raises(SettingsError, match="unknown instrument 'NOPE'; this data root has ALFA"):
        settings.instrument("NOPE")


def test_partitions_have_one_place_each_and_the_root_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = PartitionKey("events", date(2026, 1, 5), "ALFA")
    root = DataRoot(Path("somewhere"))
    assert str(key) == "events/ALFA/2026-01-05"
    assert root.published(key) == Path("somewhere/published/events/ALFA/2026-01-05")
    assert root.stage(PartitionKey("dataset_day", date(2026, 1, 5))).parts[-3:] == ("dataset_day", "_", "2026-01-05")
    monkeypatch.setenv("FLOWSENSE_ROOT", "/data/there")
    assert default_root().path == Path("/data/there")
    monkeypatch.delenv("FLOWSENSE_ROOT")
    assert default_root("lobster").path == Path.cwd() / "var" / "lobster"


def test_a_root_can_span_sessions_years_ahead() -> None:
    sessions = Calendar("XNYS", "America/New_York").first_sessions(date(2026, 1, 5), 500)
    assert len(sessions) == 500
    assert sessions[-1].date == date(2027, 12, 30)


def test_a_market_that_announces_its_holidays_late_has_its_past_sessions() -> None:
    assert Calendar("XSHG", "Asia/Shanghai").session(date(2023, 2, 1)).date == date(2023, 2, 1)
