from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from marketdata.clock import to_ns
from marketdata.paths import DataRoot
from marketdata.presets import preset
from marketdata.settings import SettingsError, save_settings
from orchestration.grids import build_grids
from orchestration.location import build_definitions
from orchestration.resources import RootResource
from orchestration.schedule import closing_cron, session_of_tick

NEW_YORK = ZoneInfo("America/New_York")
TODAY = date(2026, 12, 31)


def settings_from(start: date, sessions: int, **changes):
    return preset("simulated", None).model_copy(update={"start_date": start, "sessions": sessions, **changes})


def tick(settings, moment: datetime):
    return session_of_tick(settings, build_grids(settings, TODAY), to_ns(moment))


def test_a_tick_after_the_close_asks_for_the_session_that_has_just_closed():
    settings = settings_from(date(2026, 1, 5), 20)
    assert tick(settings, datetime(2026, 1, 6, 16, 15, tzinfo=NEW_YORK)).day == date(2026, 1, 6)


def test_before_the_close_the_session_of_the_day_is_not_asked_for():
    settings = settings_from(date(2026, 1, 5), 20)
    assert tick(settings, datetime(2026, 1, 6, 15, 59, tzinfo=NEW_YORK)).day == date(2026, 1, 5)


@pytest.mark.parametrize(
    ("day", "utc_hour"),
    [(date(2026, 3, 6), 21), (date(2026, 3, 9), 20), (date(2026, 10, 30), 20), (date(2026, 11, 2), 21)],
)
def test_the_tick_follows_the_market_s_wall_clock_over_both_changes_of_daylight_saving(day, utc_hour):
    # New York changes on 2026-03-08 and 2026-11-01: the close moves between 21:00 and 20:00 UTC.
    settings = settings_from(date(2026, 1, 5), 250)
    local = datetime(day.year, day.month, day.day, 16, 15, tzinfo=NEW_YORK)
    assert local.astimezone(UTC).hour == utc_hour
    assert tick(settings, local).day == day


@pytest.mark.parametrize("holiday", [date(2026, 1, 19), date(2026, 7, 3), date(2026, 11, 26), date(2026, 12, 25)])
def test_a_holiday_asks_for_nothing_and_says_why(holiday):
    settings = settings_from(date(2026, 1, 5), 250)
    asked = tick(settings, datetime(holiday.year, holiday.month, holiday.day, 16, 15, tzinfo=NEW_YORK))
    assert asked.day is None
    assert "no session closed" in asked.reason


def test_a_half_day_is_asked_for_by_the_tick_of_its_usual_hour():
    settings = settings_from(date(2026, 1, 5), 250)
    assert tick(settings, datetime(2026, 11, 27, 16, 15, tzinfo=NEW_YORK)).day == date(2026, 11, 27)


def test_a_session_outside_the_root_is_not_asked_for():
    settings = settings_from(date(2026, 1, 5), 3)
    asked = tick(settings, datetime(2026, 1, 9, 16, 15, tzinfo=NEW_YORK))
    assert asked.day is None
    assert "outside this data root" in asked.reason


def test_a_market_that_never_closes_is_asked_for_after_midnight():
    settings = settings_from(date(2026, 1, 1), 30, calendar="24/7", time_zone="UTC")
    grids = build_grids(settings, TODAY)
    assert closing_cron(settings, grids) == "15 0 * * *"
    assert tick(settings, datetime(2026, 1, 7, 0, 15, tzinfo=UTC)).day == date(2026, 1, 6)


def test_the_cron_line_stands_a_quarter_of_an_hour_after_the_usual_close():
    settings = settings_from(date(2026, 11, 2), 30)
    assert closing_cron(settings, build_grids(settings, TODAY)) == "15 16 * * 1-5"


def test_partitions_are_sessions_and_no_holiday_is_among_them():
    settings = settings_from(date(2024, 11, 4), 30)
    grids = build_grids(settings, TODAY)
    keys = list(grids.by_date.get_partition_keys())
    assert keys == [session.date.isoformat() for session in grids.sessions]
    assert "2024-11-28" not in keys
    assert len(grids.by_instrument.get_partition_keys()) == 30 * 5


def test_the_session_of_the_day_exists_before_its_window_has_ended():
    # The night asks for a session a quarter of an hour after its close, hours before midnight.
    today = datetime.now(UTC).astimezone(NEW_YORK).date()
    settings = settings_from(date(today.year - 1, 6, 1), 400)
    grids = build_grids(settings, today)
    latest = max(session.date for session in grids.sessions if session.date <= today)
    assert latest.isoformat() in grids.by_date.get_partition_keys()


def test_the_demonstration_s_sessions_exist_even_when_they_lie_ahead_of_the_clock():
    today = datetime.now(UTC).astimezone(NEW_YORK).date()
    settings = settings_from(today + timedelta(days=100), 20)
    grids = build_grids(settings, today)
    keys = list(grids.by_date.get_partition_keys())
    assert keys[:9] == [session.date.isoformat() for session in grids.sessions[:9]]


def test_a_training_window_reaches_back_over_weekends_and_holidays_to_existing_sessions_only():
    settings = settings_from(date(2024, 1, 2), 60)
    grids = build_grids(settings, TODAY)
    window = dg.TimeWindowPartitionMapping(start_offset=-19, allow_nonexistent_upstream_partitions=True)

    def upstream(day: str) -> list[str]:
        wanted = grids.by_date.subset_with_partition_keys([day])
        found = window.get_upstream_mapped_partitions_result_for_partitions(wanted, grids.by_date, grids.by_date)
        return sorted(found.partitions_subset.get_partition_keys())

    keys = list(grids.by_date.get_partition_keys())
    assert upstream(keys[0]) == keys[:1]
    assert upstream(keys[7]) == keys[:8]
    assert upstream(keys[40]) == keys[21:41]


def test_a_grid_of_ten_thousand_keys_is_refused():
    with pytest.raises(SettingsError, match="10000 partitions or more"):
        build_grids(settings_from(date(2020, 1, 2), 2_000), TODAY)


def test_the_schedule_asks_for_every_instrument_of_the_session_and_for_its_slow_signals(tmp_path):
    settings = settings_from(date(2026, 1, 5), 9)
    root = DataRoot(tmp_path)
    save_settings(settings, root.settings_file)
    repository = build_definitions(root).get_repository_def()
    moment = datetime(2026, 1, 6, 16, 15, tzinfo=NEW_YORK)

    def requests(name: str, at: datetime):
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_schedule_context(
                instance=instance,
                scheduled_execution_time=at,
                repository_def=repository,
                resources={"root": RootResource(path=str(tmp_path))},
            )
            return repository.get_schedule_def(name).evaluate_tick(context)

    asked = requests("nightly_schedule", moment)
    symbols = sorted(item.symbol for item in settings.instruments)
    assert sorted(request.partition_key for request in asked.run_requests) == [f"2026-01-06|{s}" for s in symbols]
    slow = requests("nightly_signals_schedule", moment)
    assert [request.partition_key for request in slow.run_requests] == ["2026-01-06"]
    quiet = requests("nightly_schedule", datetime(2026, 1, 19, 16, 15, tzinfo=NEW_YORK))
    assert not quiet.run_requests
    assert "no session closed" in quiet.skip_message
