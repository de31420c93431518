"""Labels say what an order could still have caught, and say nothing where nothing can be known."""

import numpy as np
import polars as pl
import pytest

from features.dataset import LABEL_MISSING, NEVER_KNOWN
from features.labels import LABEL_SCHEMA, executable_labels
from features.pipeline import FeaturePipeline
from features.rows import FeatureRows
from marketdata.book import empty_book, fold_best
from marketdata.clock import NS_PER_MS, NS_PER_S, Session
from marketdata.events import CLEAR, F_LAST, STATUS, EventArray
from marketdata.instruments import BookKind, Fees
from marketdata.presets import preset
from marketdata.settings import LabelSettings, LatencySettings, SamplingSettings
from marketdata.taker_cost import TakerCost, at_venue_fees, venue_fees
from marketdata.venue_settings import Venues, VenueSettings
from tests.features.tape import SESSION, instrument, random_tape

LABEL = LabelSettings(horizon_ns=3 * NS_PER_S, max_gap_ns=20 * NS_PER_S)
LATENCY = LatencySettings()


def _rows(tape: EventArray) -> FeatureRows:
    pipeline = FeaturePipeline(
        instrument(), SamplingSettings(every_events=13), SESSION.open_ns, SESSION.close_ns, False
    )
    return pipeline.step(pipeline.init(), tape)[1]


@pytest.fixture(scope="module")
def tape() -> EventArray:
    return random_tape(12, 3_000, gap_ms=40.0, specials=False)


def _label(tape: EventArray, session: Session = SESSION, label: LabelSettings = LABEL) -> pl.DataFrame:
    return executable_labels(_rows(tape), tape, instrument(), label, LATENCY, session)


def test_each_label_equals_a_slow_look_into_the_future(tape: EventArray) -> None:
    rows, found = _rows(tape), _label(tape)
    best = fold_best(empty_book(), tape)
    last = np.flatnonzero(tape["flags"] & F_LAST)
    assert found.schema == pl.Schema(LABEL_SCHEMA)
    assert found.height == len(rows.keys)
    for k in range(0, found.height, 7):
        row = found.row(k, named=True)
        key = dict(zip(("ts_recv", "bid", "ask"), rows.keys[k, [0, 3, 4]], strict=True))
        begin = key["ts_recv"] + LATENCY.to_venue_ns
        at = [last[tape["ts_recv"][last] <= t][-1] for t in (begin, begin + LABEL.horizon_ns)]
        venue = last[tape["ts_event"][last] <= begin][-1]
        assert row["arrive_ns"] == begin
        assert [row[f"entry_{c}"] for c in ("bid_units", "bid_lots", "ask_units", "ask_lots")] == best[venue].tolist()
        threshold = (key["ask"] - key["bid"]) / 2 + (key["ask"] + key["bid"]) / 2 * 30 / 1e6
        assert row["threshold_units"] == pytest.approx(threshold)
        later = tape["ts_recv"][tape["ts_recv"] > begin + LABEL.horizon_ns]
        if len(later) == 0:
            assert row["y"] == LABEL_MISSING
            assert np.isnan(row["move_units"])
            assert row["ts_known"] == NEVER_KNOWN
            continue
        move = (best[at[1], [0, 2]].sum() - best[at[0], [0, 2]].sum()) / 2
        assert row["move_units"] == move
        assert row["y"] == (np.sign(move) if abs(move) > threshold else 0)
        assert row["ts_known"] == later[0]


def test_a_label_is_known_after_its_window_and_all_three_classes_occur(tape: EventArray) -> None:
    found = _label(tape).filter(pl.col("y") != LABEL_MISSING)
    assert (found["ts_known"] > found["arrive_ns"] + LABEL.horizon_ns).all()
    assert set(found["y"].unique()) == {-1, 0, 1}


def test_no_label_reaches_beyond_the_session(tape: EventArray) -> None:
    close = int(tape["ts_recv"][len(tape) // 2])
    found = _label(tape, Session(SESSION.date, SESSION.open_ns, close))
    beyond = found["arrive_ns"] + LABEL.horizon_ns >= close
    assert (found.filter(beyond)["y"] == LABEL_MISSING).all()
    assert (found.filter(~beyond)["y"] != LABEL_MISSING).all()


@pytest.mark.parametrize("what", ["clear", "halt", "silence"])
def test_no_label_reaches_across_a_clear_a_halt_or_a_silence(tape: EventArray, what: str) -> None:
    broken = tape.copy()
    middle = int(np.flatnonzero(tape["flags"] & F_LAST)[1_500]) + 1
    rows = _rows(broken)
    before = rows.key("ts_recv") < broken["ts_recv"][middle]
    if what == "silence":
        broken["ts_recv"][middle:] += 25 * NS_PER_S
        broken["ts_event"][middle:] += 25 * NS_PER_S
    else:
        extra = broken[middle - 1 : middle].copy()
        extra["action"] = CLEAR if what == "clear" else STATUS
        extra["size_lots"] = 0
        broken = np.concatenate([broken[:middle], extra, broken[middle:]])
    kept = FeatureRows(rows.keys[before], rows.values[before], rows.columns)
    found = executable_labels(kept, broken, instrument(), LABEL, LATENCY, SESSION)
    stop = int(broken["ts_recv"][middle])
    crossing = (found["arrive_ns"] + LABEL.horizon_ns >= stop).to_numpy()
    if what == "silence":
        crossing &= found["arrive_ns"].to_numpy() + LABEL.horizon_ns >= stop
        stale = found["arrive_ns"].to_numpy() + LABEL.horizon_ns - broken["ts_recv"][middle - 1] > LABEL.max_gap_ns
        assert not stale.any()
        assert (found["y"].to_numpy()[~crossing] != LABEL_MISSING).all()
        return
    assert crossing.any()
    assert (found["y"].to_numpy()[crossing] == LABEL_MISSING).all()
    assert (found["y"].to_numpy()[~crossing] != LABEL_MISSING).all()


def test_a_quote_older_than_the_allowed_gap_is_no_quote(tape: EventArray) -> None:
    broken = tape.copy()
    middle = int(np.flatnonzero(tape["flags"] & F_LAST)[1_500]) + 1
    rows = _rows(broken)
    before = rows.key("ts_recv") < broken["ts_recv"][middle]
    broken["ts_recv"][middle:] += 25 * NS_PER_S
    broken["ts_event"][middle:] += 25 * NS_PER_S
    kept = FeatureRows(rows.keys[before], rows.values[before], rows.columns)
    label = LabelSettings(horizon_ns=3 * NS_PER_S, max_gap_ns=500 * NS_PER_MS)
    found = executable_labels(kept, broken, instrument(), label, LATENCY, SESSION)
    end = found["arrive_ns"].to_numpy() + label.horizon_ns
    stale = end - broken["ts_recv"][middle - 1] > label.max_gap_ns
    assert stale.any()
    assert (found["y"].to_numpy()[stale] == LABEL_MISSING).all()


def test_later_events_change_no_label_that_is_known(tape: EventArray) -> None:
    rows, whole = _rows(tape), _label(tape)
    cut = len(tape) * 2 // 3
    part = executable_labels(rows, tape[:cut], instrument(), LABEL, LATENCY, SESSION)
    known = whole["ts_known"].to_numpy() < tape["ts_recv"][cut - 1]
    assert known.sum() > 100
    assert part.filter(known).equals(whole.filter(known))


def test_an_instrument_without_a_book_has_rows_and_no_labels(tape: EventArray) -> None:
    other = instrument(0, BookKind.TRADES_ONLY)
    pipeline = FeaturePipeline(other, SamplingSettings(every_events=13), SESSION.open_ns, SESSION.close_ns, False)
    rows = pipeline.step(pipeline.init(), tape)[1]
    found = executable_labels(rows, tape, other, LABEL, LATENCY, SESSION)
    assert found.height == len(rows.keys) > 0
    assert (found["y"] == LABEL_MISSING).all()
    assert found["entry_ask_lots"].sum() == 0


def test_a_venues_tier_and_its_fee_a_fill_are_part_of_the_threshold(tape: EventArray) -> None:
    base = preset("simulated", None)
    tiers = [
        {"from_volume": 0.0, "maker_ppm": 0, "taker_ppm": 90},
        {"from_volume": 1e6, "maker_ppm": 0, "taker_ppm": 10},
    ]
    plain = _label(tape)
    lots = min(base.strategy.order_lots, base.strategy.max_position_lots)
    for stated, ppm in ((0.0, 90), (2e6, 10)):
        fees = {"tiers": tiers, "per_trade": 0.5, "volume": stated}
        venues = Venues({"SIM": VenueSettings.model_validate({"fees": fees})})
        settings = base.model_copy(update={"venues": venues, "instruments": (instrument(),)})
        cost = TakerCost.of(settings, instrument().model_copy(update={"venue": "SIM"}))
        found = executable_labels(_rows(tape), tape, instrument(), LABEL, LATENCY, SESSION, cost)
        keys = _rows(tape).keys
        bid, ask = keys[:, 3], keys[:, 4]
        expected = (ask - bid) / 2 + (ask + bid) / 2 * ppm / 1e6 + 0.5e9 / (lots * instrument().unit_nanos)
        assert found["threshold_units"].to_numpy() == pytest.approx(expected)
        same = ("move_units", "ts_known", "arrive_ns")
        assert found.select(same).equals(plain.select(same), null_equal=True)
    own = executable_labels(_rows(tape), tape, instrument(), LABEL, LATENCY, SESSION, TakerCost.of(base, instrument()))
    assert own.equals(plain)


def test_the_tier_is_the_last_that_the_volume_reaches_and_only_of_its_own_venue() -> None:
    base = preset("simulated", None)
    tiers = [{"from_volume": v, "maker_ppm": -p, "taker_ppm": p} for v, p in ((0.0, 90), (100.0, 50), (200.0, 10))]
    venues = Venues({"SIM": VenueSettings.model_validate({"fees": {"tiers": tiers, "volume": 60.0}})})
    settings = base.model_copy(update={"venues": venues})
    item = base.instruments[0]
    found = [venue_fees(settings, item, traded=traded).taker_ppm for traded in (0.0, 39.0, 40.0, 1e9)]
    assert found == [90, 90, 50, 10]
    assert at_venue_fees(settings, item).fees == Fees(maker_ppm=-90, taker_ppm=90)
    elsewhere = item.model_copy(update={"venue": "ELSEWHERE"})
    assert at_venue_fees(settings, elsewhere) is elsewhere
