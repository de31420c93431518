"""Pauses begin and end when sun and clock say so, and the engine keeps out of the market between."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pytest
from pydantic import ValidationError

from marketdata.clock import NS_PER_MS, NS_PER_S, Session, from_ns, to_ns
from marketdata.events import ASK, BID, LEVEL
from marketdata.presets import preset
from marketdata.settings import MaintenanceWindow, PauseSettings, SettingsError, ShabbatSettings
from tests.trading.tape import OPEN_NS, Tape, engine, random_market, run, script
from trading.controls import FLATTEN, PAUSE, RESUME, control, pause_windows
from trading.engine import Engine
from trading.journal import CANCEL, CONTROL, FILL, ORDER, R_PAUSED, RISK_REJECT
from trading.orders import IOC, POST_ONLY
from trading.pauses import session_pauses, shabbat, windows

JERUSALEM = ShabbatSettings(
    latitude=31.778, longitude=35.235, time_zone="Asia/Jerusalem", candle_minutes=40, nightfall_degrees=8.5
)
NEW_YORK = ShabbatSettings(latitude=40.713, longitude=-74.006, time_zone="America/New_York")


def local(ns: int, zone: str) -> datetime:
    from zoneinfo import ZoneInfo

    return from_ns(ns).astimezone(ZoneInfo(zone))


@pytest.mark.parametrize(
    ("place", "friday", "begins", "ends"),
    [
        # Published times: Jerusalem 40 minutes before a sunset of 19:47; New York 18 minutes before one of 16:31.
        (JERUSALEM, date(2025, 6, 20), time(19, 8), time(20, 29)),
        (NEW_YORK, date(2025, 12, 19), time(16, 13), time(17, 17)),
    ],
)
def test_shabbat_is_from_candle_lighting_to_nightfall(
    place: ShabbatSettings, friday: date, begins: time, ends: time
) -> None:
    start, end = shabbat(place, friday)
    lit, night = local(start, place.time_zone), local(end, place.time_zone)
    assert (lit.date(), night.date()) == (friday, friday + timedelta(days=1))
    for found, said in ((lit, begins), (night, ends)):
        assert abs(found - datetime.combine(found.date(), said, found.tzinfo)) < timedelta(minutes=3)


def test_a_week_has_one_shabbat_and_it_moves_with_daylight_saving() -> None:
    pauses = PauseSettings(shabbat=NEW_YORK)
    start = to_ns(datetime(2026, 3, 1, tzinfo=UTC))
    found = windows(pauses, start, start + 21 * 86_400 * NS_PER_S, "America/New_York")
    assert [local(one, "America/New_York").date() for one, _ in found] == [
        date(2026, 3, 6),
        date(2026, 3, 13),
        date(2026, 3, 20),
    ]
    hours = [local(one, "America/New_York").hour for one, _ in found]
    assert hours == [17, 18, 18], "clocks go forward on 8 March"


def test_the_sun_that_does_not_set_is_named() -> None:
    far = ShabbatSettings(latitude=65.9, longitude=25.0, time_zone="Europe/Helsinki")
    with pytest.raises(SettingsError, match=r"pauses.shabbat: 2026-06-19"):
        shabbat(far, date(2026, 6, 19))


def test_maintenance_comes_back_at_its_local_time_and_days_off_last_all_day() -> None:
    weekly = MaintenanceWindow(start=time(17), minutes=60, time_zone="America/Chicago", weekday="sun")
    pauses = PauseSettings(maintenance=(weekly,), dates=(date(2026, 3, 10),))
    start = to_ns(datetime(2026, 3, 1, tzinfo=UTC))
    found = windows(pauses, start, start + 14 * 86_400 * NS_PER_S, "UTC")
    assert [from_ns(one).isoformat() for one, _ in found] == [
        "2026-03-01T23:00:00+00:00",
        "2026-03-08T22:00:00+00:00",
        "2026-03-10T00:00:00+00:00",
    ]
    assert [(end - one) // NS_PER_S for one, end in found] == [3_600, 3_600, 86_400]
    with pytest.raises(ValidationError, match="Mars/Olympus"):
        MaintenanceWindow(start=time(17), minutes=60, time_zone="Mars/Olympus")


def test_a_sessions_pauses_begin_their_lead_early_and_those_outside_are_left_out() -> None:
    settings = preset("simulated", None, signal=0.0, sessions=1)
    session = Session(
        date(2026, 1, 5), to_ns(datetime(2026, 1, 5, 15, tzinfo=UTC)), to_ns(datetime(2026, 1, 5, 21, tzinfo=UTC))
    )
    each = (
        MaintenanceWindow(start=time(16), minutes=30, time_zone="UTC"),
        MaintenanceWindow(start=time(23), minutes=30, time_zone="UTC"),
    )
    settings = settings.model_copy(update={"pauses": PauseSettings(maintenance=each, lead_s=90, policy="flatten")})
    made = session_pauses(settings, session)
    assert made["kind"].tolist() == [PAUSE, RESUME]
    assert made["value"].tolist() == [1, 0]
    assert from_ns(int(made["due_ns"][0])).isoformat() == "2026-01-05T15:58:30+00:00"
    assert from_ns(int(made["due_ns"][1])).isoformat() == "2026-01-05T16:30:00+00:00"


def paused(made: Engine, start_s: float, end_s: float, *, flatten: bool) -> Engine:
    span = (OPEN_NS + round(start_s * NS_PER_S), OPEN_NS + round(end_s * NS_PER_S))
    return Engine(replace(made.config, pauses=pause_windows([span], flatten=flatten, by="calendar")))


def quotes() -> Tape:
    tape = Tape()
    for k in range(60):
        tape(1_000 * k, LEVEL, BID, 1_000, 50 + k % 2, last=False)
        tape(1_000 * k + 0.0001, LEVEL, ASK, 1_010, 50 + k % 2)
    return tape


@pytest.mark.parametrize("flatten", [True, False])
def test_in_a_pause_nothing_rests_nothing_opens_and_positions_follow_the_policy(flatten: bool) -> None:
    orders = (
        (1_000, 1, IOC, 1_010, 5),
        (2_000, 1, POST_ONLY, 995, 3),
        (20_000, 1, IOC, 1_010, 2),
        (40_000, 1, IOC, 1_010, 1),
    )
    made = paused(engine(script(*orders)), 10, 30, flatten=flatten)
    _, journal = run(made, quotes().events())
    controls = journal[journal["kind"] == CONTROL]
    assert [(int(row["ts_ns"]) - OPEN_NS) // NS_PER_S for row in controls] == [10, 30]
    cancels = journal[journal["kind"] == CANCEL]
    assert cancels["ts_ns"][0] - OPEN_NS == 10 * NS_PER_S, "the resting order is cancelled as the pause begins"
    refused = journal[journal["kind"] == RISK_REJECT]
    assert refused["reason"].tolist() == [R_PAUSED]
    fills = journal[journal["kind"] == FILL]
    held = int((fills["side"].astype(np.int64) * fills["size_lots"])[fills["ts_ns"] < OPEN_NS + 30 * NS_PER_S].sum())
    assert held == (0 if flatten else 5)
    last = journal[(journal["kind"] == ORDER) & (journal["ts_ns"] >= OPEN_NS + 30 * NS_PER_S)]
    assert last["size_lots"][0] == 1, "trading goes on when the pause is over"


def test_what_a_person_asks_for_before_a_known_pause_is_still_obeyed_first() -> None:
    made = paused(engine(script((1_000, 1, IOC, 1_010, 5))), 30, 40, flatten=False)
    events = quotes().events()
    half = events["ts_recv"] < OPEN_NS + 5 * NS_PER_S
    state, first = made.run(made.init(), events[half], None, None, OPEN_NS + 5 * NS_PER_S)
    asked = control(FLATTEN, OPEN_NS + 6 * NS_PER_S, by="ann", control_id=9)
    state, second = made.run(state, events[~half], None, asked, OPEN_NS + 50 * NS_PER_S)
    rows = np.concatenate([first, second])
    kinds = rows["reason"][rows["kind"] == CONTROL].tolist()
    assert kinds == [FLATTEN, PAUSE, RESUME]


def test_cutting_the_tape_changes_nothing_about_a_pause() -> None:
    events = random_market(5, 2_000, 1)
    orders = tuple((1_000 * k, 1 if k % 2 else -1, POST_ONLY, 995, 1) for k in range(1, 40))
    made = paused(engine(script(*orders)), 10, 20, flatten=True)
    whole = run(made, events)[1]
    state, parts = made.init(), []
    low = 0
    for ms in (4_000, 10_000, 10_001, 19_999, 25_000, None):
        high = np.iinfo(np.int64).max if ms is None else OPEN_NS + ms * NS_PER_MS
        rows = events[(events["ts_recv"] >= low) & (events["ts_recv"] < high)]
        state, journal = made.run(state, rows, None, None, high)
        parts.append(journal)
        low = high
    assert np.array_equal(np.concatenate(parts), whole)
