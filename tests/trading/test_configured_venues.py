"""What the settings say of a venue reaches the engine, and what one session leaves reaches the next."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from marketdata.clock import NS_PER_HOUR, NS_PER_MINUTE, Session
from marketdata.partitions import publish
from marketdata.paths import DataRoot, PartitionKey
from marketdata.presets import preset
from marketdata.settings import Settings, SettingsError, load_settings, save_settings, validate_settings
from orchestration.cli.overrides import overridden
from tests.trading.tape import SESSION
from trading.carried import CarriedOver, SessionTrace, carry_over, load_carried, save_trace, session_trace
from trading.config import engine_config, known_before
from trading.configured_venues import funding_controls, venue_rules
from trading.controls import FUNDING, PAUSE, SIZE_SCALE
from trading.journal import FILL, FORECAST, JOURNAL_DTYPE
from trading.latency import ConstantLatency, LatencyModel, QuantileLatency, RecordedLatency
from trading.state import K_DAILY_LOTS, K_HALT_CANCELS, K_IMPACT_PPM, K_MAKER_PPM, K_TAKER_PPM, K_TRADE_FEE

PLAIN = preset("simulated", None)
VENUE: dict[str, Any] = {
    "fees": {
        "tiers": [
            {"from_volume": 0, "maker_ppm": 10, "taker_ppm": 100},
            {"from_volume": 1e6, "maker_ppm": -5, "taker_ppm": 40},
        ],
        "per_trade": 0.25,
        "volume": 4e5,
    },
    "funding": {"rate_bps": 1.0, "times": ["08:00", "16:00"], "time_zone": "UTC"},
    "impact": {"coefficient_bps": 80.0, "daily_lots": 20_000},
    "latency": {"new": {"form": "quantiles", "ns": [1_000, 2_000, 9_000]}, "cancel": {"form": "constant", "ns": 7}},
    "downtime": [
        {"start": "16:00", "minutes": 20, "time_zone": "UTC"},
        {"start": "16:10", "minutes": 20, "time_zone": "UTC"},
    ],
    "on_halt": "cancel",
}


def _settings(**sections: Any) -> Settings:
    return validate_settings({**PLAIN.model_dump(mode="json", exclude_none=True), **sections}, "test")


def _session(settings: Settings) -> Session:
    return settings.market_calendar().first_sessions(settings.start_date, 1)[0]


def test_a_venues_section_reads_back_from_its_file_and_becomes_the_engines_parameters(tmp_path: Path) -> None:
    settings = _settings(venues={"SIM": VENUE}, queue_model="power:3")
    save_settings(settings, tmp_path / "settings.toml")
    read = load_settings(tmp_path / "settings.toml")
    assert read == settings
    assert hash(read) == hash(settings) != hash(PLAIN)
    session = _session(read)
    config = engine_config(read, session, carried=CarriedOver(volumes={"SIM": 7e5}))
    made = config.parameters()
    # 4e5 of the account elsewhere and 7e5 here reach the second tier.
    names = (K_MAKER_PPM, K_TAKER_PPM, K_TRADE_FEE, K_IMPACT_PPM, K_DAILY_LOTS, K_HALT_CANCELS)
    assert made.inst[:, names].tolist() == [[-5, 40, 250_000_000, 8_000, 20_000, 1]] * len(read.instruments)
    assert engine_config(read, session).parameters().inst[0, K_TAKER_PPM] == 100
    assert config.queue.name == "power:3"
    assert engine_config(read, session, queue_model="fifo").queue.by_id
    assert config.fingerprint() != engine_config(PLAIN, session).fingerprint()
    four = session.open_ns - session.open_ns % (24 * NS_PER_HOUR) + 16 * NS_PER_HOUR
    # Two windows that overlap are one.
    assert config.rules["SIM"].downtime == ((four, four + 30 * NS_PER_MINUTE),)


def test_what_is_left_out_of_a_venues_latency_is_the_settings_constant_and_a_factor_scales_all() -> None:
    settings = _settings(venues={"SIM": VENUE})
    constant = PLAIN.latency
    drawn = QuantileLatency((1_000, 2_000, 9_000))
    made = venue_rules(settings, _session(settings))["SIM"].latency
    assert made == LatencyModel(
        drawn, ConstantLatency(7), ConstantLatency(constant.order_ns), ConstantLatency(constant.response_ns)
    )
    slow = venue_rules(settings, _session(settings), latency_scale=3.0)["SIM"].latency
    assert slow is not None
    assert slow.legs() == (
        QuantileLatency((3_000, 6_000, 27_000)),
        ConstantLatency(21),
        ConstantLatency(3 * constant.order_ns),
        ConstantLatency(3 * constant.response_ns),
    )


def test_recorded_triples_come_from_a_file_as_they_were_or_as_a_distribution(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("sent_ns,venue_ns,answered_ns\n20,26,30\n10,15,18\n")

    def latency(**changes: Any) -> LatencyModel:
        settings = _settings(venues={"SIM": {"latency": {"triples": str(path), **changes}}})
        found = venue_rules(settings, SESSION)["SIM"].latency
        assert found is not None
        return found

    assert latency().new == RecordedLatency((10, 20), (5, 6))
    assert latency().answer == RecordedLatency((15, 26), (3, 4))
    drawn = latency(triples_as="quantiles").answer
    assert isinstance(drawn, QuantileLatency)
    assert (drawn.ns[0], drawn.ns[-1]) == (3, 4)
    for text, said in (
        ("sent_ns,venue_ns\n1,2\n", "no CSV of whole numbers"),
        ("sent_ns,venue_ns,answered_ns\n5,4,6\n", "sent_ns <= venue_ns"),
        ("sent_ns,venue_ns,answered_ns\n1,9,10\n2,3,4\n", "ascending"),
    ):
        path.write_text(text)
        with pytest.raises(SettingsError, match=said):
            latency()
    path.unlink()
    with pytest.raises(SettingsError, match=r"venues\.SIM\.latency\.triples: .*cannot be read"):
        latency()


@pytest.mark.parametrize(
    ("venues", "said"),
    [
        ({"SIM": {"taxes": 1}}, "venues.SIM.taxes: there is no such setting"),
        ({"NYSE": {}}, "venues.NYSE: no instrument trades there; there are SIM"),
        ({"SIM": {"fees": {"tiers": []}}}, "venues.SIM.fees.tiers"),
        ({"SIM": {"fees": {"tiers": [{"from_volume": 1, "maker_ppm": 0, "taker_ppm": 0}]}}}, "start at from_volume 0"),
        ({"SIM": {"latency": {"new": {"form": "quantiles", "ns": [3, 2]}}}}, "ascend"),
        ({"SIM": {"latency": {"new": {"form": "guess", "ns": 3}}}}, "venues.SIM.latency.new"),
        ({"SIM": {"latency": {"triples": "a.csv", "new": {"form": "constant", "ns": 1}}}}, "not from both"),
        ({"SIM": {"impact": {"coefficient_bps": 0, "daily_lots": 1}}}, "coefficient_bps"),
        ({"SIM": {"funding": {"rate_bps": 1, "times": ["25:00"]}}}, "venues.SIM.funding.times.0"),
    ],
)
def test_a_wrong_venue_is_refused_naming_the_field(venues: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        _settings(venues=venues)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_funding_comes_at_its_times_to_what_is_traded_there_beside_the_pauses() -> None:
    settings = _settings(
        venues={"SIM": VENUE}, pauses={"maintenance": [{"start": "15:30", "minutes": 5, "time_zone": "UTC"}]}
    )
    session = _session(settings)
    rows = funding_controls(settings, session)
    # 14:30 to 21:00 UTC holds one of the two times.
    assert len(rows) == len(settings.instruments)
    assert set(rows["value"].tolist()) == {100_000}
    assert rows["instrument_id"].tolist() == [item.instrument_id for item in settings.instruments]
    known = known_before(settings, session, CarriedOver())
    assert np.all(np.diff(known["due_ns"]) >= 0)
    assert {PAUSE, FUNDING} <= set(known["kind"].tolist())
    # An engine of one instrument hears nothing of the others' funding: it would take it for its own.
    alone = engine_config(settings, session, instruments=settings.instruments[1:2]).pauses
    assert alone["instrument_id"][alone["kind"] == FUNDING].tolist() == [1]
    assert len(funding_controls(PLAIN, session)) == 0


def _journal() -> np.ndarray:
    """Two fills of ALFA, none of BRAVO; ALFA's mid moves from 100 to 101 to 100, twice within the first minute."""
    rows = np.zeros(6, JOURNAL_DTYPE)
    rows["kind"] = [FORECAST, FORECAST, FORECAST, FORECAST, FILL, FILL]
    rows["ts_ns"] = np.array([0, 30, 70, 130, 140, 150]) * 10**9
    rows["bid_units"], rows["ask_units"] = [90, 99, 100, 99, 0, 0], [92, 101, 102, 101, 0, 0]
    rows["price_units"], rows["size_lots"] = [0, 0, 0, 0, 100, 102], [0, 0, 0, 0, 2, 3]
    return rows


def test_a_session_leaves_its_volume_and_its_volatility() -> None:
    trace = session_trace(date(2026, 1, 5), _journal(), PLAIN.instruments)
    unit = PLAIN.instruments[0].unit_nanos / 1e9
    assert trace.volumes == {"SIM": 506 * unit}
    move = np.log(101 / 100)
    assert trace.volatility == {"ALFA": pytest.approx(np.sqrt(2 * move**2))}


def test_only_what_came_before_is_carried_and_thirty_days_of_volume(tmp_path: Path) -> None:
    root = DataRoot(tmp_path)
    settings = _settings(sizing={"volatility_target": 0.01, "volatility_sessions": 2})
    days = (date(2026, 1, 1), date(2026, 1, 20), date(2026, 2, 1), date(2026, 2, 2))
    for k, day in enumerate(days):
        save_trace(root, SessionTrace(day, {"SIM": 10.0**k}, {"ALFA": 0.01 * (k + 1)}))
    carried = load_carried(root, settings, days[-1])
    assert carried.volumes == {"SIM": 110.0}
    assert carried.volatility == {"ALFA": pytest.approx(np.sqrt((0.02**2 + 0.03**2) / 2))}
    assert carry_over(settings, days[0], []) == CarriedOver({}, {})
    (root.night(days[1]) / "carried.json").write_text("{")
    with pytest.raises(SettingsError, match=r"2026-01-20.*damaged"):
        load_carried(root, settings, days[-1])


def test_sizes_are_cut_down_to_a_volatility_and_what_is_not_known_is_bet_lot_by_lot() -> None:
    settings = _settings(
        sizing={"volatility_target": 0.01},
        strategy={**PLAIN.strategy.model_dump(), "order_lots": 8, "max_position_lots": 8},
    )
    carried = CarriedOver(volatility={"ALFA": 0.04, "BRAVO": 0.005})
    rows = known_before(settings, SESSION, carried)
    assert set(rows["kind"].tolist()) == {SIZE_SCALE}
    assert rows["value"].tolist()[:3] == [250_000, 1_000_000, 125_000]
    assert set(rows["due_ns"].tolist()) == {SESSION.open_ns}
    assert len(known_before(PLAIN, SESSION, carried)) == 0


def test_sessions_that_nobody_traded_leave_the_volatility_of_their_stored_rows(tmp_path: Path) -> None:
    root = DataRoot(tmp_path)
    settings = _settings(sizing={"volatility_target": 0.01, "volatility_sessions": 2})
    mids = {3: [100, 101, 100], 5: [100, 102, 100], 6: [100, 103, 100], 8: [100, 150, 100]}
    for number, path in mids.items():
        rows = {"ts_recv": np.array([0, 30, 70, 130]) * 10**9, "bid_units": np.array([90, *path]) - 1}
        frame = pl.DataFrame({**rows, "ask_units": rows["bid_units"] + 2})
        key = PartitionKey("feature_rows", date(2026, 1, number), "ALFA")
        publish(root, key, frame, [])

    def moved(*peaks: float) -> float:
        return float(np.sqrt(np.mean([2 * np.log(peak / 100) ** 2 for peak in peaks])))

    # The first night there is: nothing was traded before, and yet the last two stored sessions are known.
    first = load_carried(root, settings, date(2026, 1, 7))
    assert first.volatility == {"ALFA": pytest.approx(moved(102, 103))}
    assert first.volumes == {}
    # A night's own trace stands in for the rows of its session; what comes later is not looked at.
    save_trace(root, SessionTrace(date(2026, 1, 6), {"SIM": 5.0}, {"ALFA": 0.5}))
    later = load_carried(root, settings, date(2026, 1, 7))
    assert later.volatility == {"ALFA": pytest.approx(np.sqrt((0.25 + moved(102) ** 2) / 2))}
    assert later.volumes == {"SIM": 5.0}
    assert load_carried(root, PLAIN, date(2026, 1, 7)).volatility == {"ALFA": 0.5}, "without a target nothing is read"
    assert load_carried(root, settings, date(2026, 1, 3)).volatility == {}


def test_a_setting_is_changed_for_one_command_and_validated_like_the_file() -> None:
    made = overridden(
        PLAIN,
        [
            "venues.SIM.impact={coefficient_bps = 100, daily_lots = 5}",
            "venues.SIM.on_halt=cancel",
            "risk.max_order_lots=2",
            "queue_model=log",
        ],
    )
    assert made.venues["SIM"].impact is not None
    assert (made.venues["SIM"].on_halt, made.risk.max_order_lots, made.queue_model) == ("cancel", 2, "log")
    assert made.model_copy(update={"venues": PLAIN.venues, "risk": PLAIN.risk, "queue_model": "risk_averse"}) == PLAIN
    for text, said in (
        ("risk.max_orders=2", "--with risk.max_orders=2: risk.max_orders: there is no such setting"),
        ("risk", "is not KEY=VALUE"),
        ("label.horizon_ns=1", "only venues, risk"),
        ("risk.max_order_lots=many", "max_order_lots"),
    ):
        with pytest.raises(SettingsError) as caught:
            overridden(PLAIN, [text])
        assert said in str(caught.value)
