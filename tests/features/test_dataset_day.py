"""A day's share of the dataset: what is missing is said, what is joined was known."""

import numpy as np
import polars as pl
import pytest

from features.assembler import RowAssembler
from features.dataset_day import DAY_COLUMNS, TooFewInstruments, build_dataset_day, dataset_from_frames
from features.labels import executable_labels
from features.pipeline import rows_of_session
from features.rows import FeatureRows
from features.signals.columns import SIGNAL_COLUMNS
from marketdata.clock import NS_PER_S
from marketdata.instruments import BookKind
from marketdata.settings import Settings
from tests.features.tape import OPEN_NS, SESSION, instrument, random_tape, settings

DAY = SESSION.date


def _world(config: Settings) -> tuple[dict[str, FeatureRows], dict[str, pl.DataFrame]]:
    rows, labels = {}, {}
    for k, item in enumerate(config.instruments):
        tape = random_tape(30 + k, 2_500, instrument_id=k)
        rows[item.symbol] = rows_of_session(config, item, SESSION, tape)
        labels[item.symbol] = executable_labels(rows[item.symbol], tape, item, config.label, config.latency, SESSION)
    return rows, labels


CONFIG = settings(3, sampling={"every_events": 20})


@pytest.fixture(scope="module")
def world() -> tuple[dict[str, FeatureRows], dict[str, pl.DataFrame]]:
    return _world(CONFIG)


def test_rows_of_all_instruments_come_in_order_with_their_labels(world: tuple[dict, dict]) -> None:
    rows, labels = world
    frame, manifest = build_dataset_day(DAY, CONFIG, rows, labels, {}, {})
    assert frame.columns == [*DAY_COLUMNS, *RowAssembler(CONFIG).columns]
    assert frame.height == sum(len(part.keys) for part in rows.values()) == sum(manifest["rows"].values())
    order = frame.select(pl.struct("ts_recv", "instrument_id")).to_series()
    assert order.equals(order.sort())
    own = frame.filter(pl.col("instrument_id") == 1)
    assert own["y"].equals(labels["I1"]["y"])
    np.testing.assert_array_equal(own["spread_bps"].to_numpy(), rows["I1"].values[:, 1].astype(np.float32))
    assert frame[SIGNAL_COLUMNS["options"][0]].is_nan().all()
    assert manifest["signals_absent"] == ["options", "social", "onchain"]


def test_peer_features_are_the_means_of_the_others_latest_rows(world: tuple[dict, dict]) -> None:
    rows, labels = world
    frame, _ = build_dataset_day(DAY, CONFIG, rows, labels, {}, {})
    own = frame.filter(pl.col("instrument_id") == 2)
    for k in range(len(own) // 2, len(own), 11):
        now = own["ts_recv"][k]
        expected = []
        for symbol in ("I0", "I1"):
            last = np.searchsorted(rows[symbol].key("ts_recv"), now, side="right") - 1
            expected.append(rows[symbol].values[last, rows[symbol].columns.index("mid_return_bps_10s")])
        assert own["peer_return_10s"][k] == pytest.approx(np.mean(expected), rel=1e-6)
        relative = own["mid_return_bps_10s"][k] - np.mean(expected)
        assert own["relative_return_10s"][k] == pytest.approx(relative, rel=1e-4, abs=1e-4)
        assert abs(own["peer_extreme_10s"][k]) == pytest.approx(np.abs(expected).max(), rel=1e-6)


def test_a_signal_holds_from_when_it_was_known_and_for_its_own_symbol(world: tuple[dict, dict]) -> None:
    rows, labels = world
    times = [OPEN_NS - 5 * NS_PER_S, OPEN_NS + 40 * NS_PER_S]
    values = {name: [0.0, 0.0] for name in SIGNAL_COLUMNS["social"]} | {"social_sentiment": [0.25, -0.5]}
    frame = pl.DataFrame({"ts_known": times, "symbol": ["I1", "I1"], **values})
    found, manifest = build_dataset_day(DAY, CONFIG, rows, labels, {"social": frame}, {})
    own = found.filter(pl.col("instrument_id") == 1)
    late = own["ts_recv"] >= times[1]
    assert set(own.filter(late)["social_sentiment"]) == {-0.5}
    assert set(own.filter(~late)["social_sentiment"]) == {0.25}
    assert found.filter(pl.col("instrument_id") != 1)["social_sentiment"].is_nan().all()
    assert manifest["signal_rows"] == {"social": 2}


def test_a_missing_instrument_is_listed_and_too_few_stop_the_day(world: tuple[dict, dict]) -> None:
    rows, labels = world
    config = settings(3, sampling={"every_events": 20}, training={"min_instruments": 2})
    two = {symbol: rows[symbol] for symbol in ("I0", "I2")}
    frame, manifest = build_dataset_day(DAY, config, two, labels, {}, {"I1": "raw_ticks is quarantined"})
    assert manifest["missing"] == {"I1": "raw_ticks is quarantined"}
    assert set(frame["instrument_id"]) == {0, 2}
    with pytest.raises(TooFewInstruments, match="raw_ticks is quarantined"):
        build_dataset_day(DAY, CONFIG, two, labels, {}, {"I1": "raw_ticks is quarantined"})


def test_an_instrument_without_a_book_is_a_peer_and_no_row() -> None:
    config = settings(2, sampling={"every_events": 20}, training={"min_instruments": 1})
    items = [instrument(0), instrument(1, BookKind.TRADES_ONLY)]
    config = config.model_copy(update={"instruments": tuple(items)})
    rows, labels = _world(config)
    frame, _ = build_dataset_day(DAY, config, rows, labels, {}, {})
    assert set(frame["instrument_id"]) == {0}
    assert frame["peer_return_10s"].is_not_nan().sum() > 20
    assert frame["peer_ofi_10s"].is_nan().all()


def test_too_many_rows_are_thinned_after_the_join(world: tuple[dict, dict]) -> None:
    rows, labels = world
    whole, _ = build_dataset_day(DAY, CONFIG, rows, labels, {}, {})
    config = settings(3, sampling={"every_events": 20, "max_rows": 50})
    thin, manifest = build_dataset_day(DAY, config, rows, labels, {}, {})
    assert max(manifest["rows"].values()) <= 50
    joined = thin.join(whole, on=["ts_recv", "instrument_id"], how="semi")
    assert joined.height == thin.height
    key = ["ts_recv", "instrument_id", "peer_return_10s"]
    assert thin.select(key).equals(whole.select(key).join(thin.select(key[:2]), on=key[:2], how="semi"))


def test_labels_of_other_rows_are_refused(world: tuple[dict, dict]) -> None:
    rows, labels = world
    with pytest.raises(ValueError, match="I0"):
        build_dataset_day(DAY, CONFIG, rows, labels | {"I0": labels["I1"]}, {}, {})


def test_the_dataset_of_a_window_is_its_days_and_its_hash_is_stable(world: tuple[dict, dict]) -> None:
    rows, labels = world
    frame, _ = build_dataset_day(DAY, CONFIG, rows, labels, {}, {})
    one = dataset_from_frames([frame, frame], CONFIG, [SESSION, SESSION])
    assert len(one) == 2 * frame.height
    assert one.session.tolist() == [0] * frame.height + [1] * frame.height
    assert one.x.dtype == np.float32
    assert one.x.shape == (len(one), len(RowAssembler(CONFIG).columns))
    assert one.labelled.sum() == 2 * frame["move_units"].is_not_nan().sum()
    assert one.content_hash() == dataset_from_frames([frame, frame], CONFIG, [SESSION, SESSION]).content_hash()
    other = settings(3, sampling={"every_events": 20, "windows_ns": [NS_PER_S, 5 * NS_PER_S]})
    with pytest.raises(ValueError, match="other columns"):
        dataset_from_frames([frame], other, [SESSION])


def test_a_frame_survives_parquet_bit_for_bit(world: tuple[dict, dict], tmp_path) -> None:
    rows, labels = world
    frame, _ = build_dataset_day(DAY, CONFIG, rows, labels, {}, {})
    frame.write_parquet(tmp_path / "day.parquet")
    again = pl.read_parquet(tmp_path / "day.parquet")
    one, two = (dataset_from_frames([part], CONFIG, [SESSION]).content_hash() for part in (frame, again))
    assert one == two
    assert FeatureRows.from_frame(rows["I0"].to_frame()).values.tobytes() == rows["I0"].values.tobytes()
