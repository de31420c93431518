"""Hourly bars as events, and option chains, posts and transfers with the time at which each could be known."""

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from marketdata.book import empty_book, fold_best
from marketdata.clock import NS_PER_HOUR, NS_PER_MINUTE, to_ns
from marketdata.codecs import bars, deribit, whales
from marketdata.events import ASK, BID, CLEAR, F_LAST, TRADE
from marketdata.settings import SettingsError
from marketdata.slow_data import HAPPENED, NEVER, SLOW_SCHEMAS
from marketdata.sources import build_source, preset
from marketdata.validation import audit_events, audit_raw_ticks, audit_slow
from tests.marketdata.recordings import write_crypto

DAY = date(2025, 12, 30)
MIDNIGHT = to_ns(datetime(2025, 12, 30, tzinfo=UTC))


def test_every_bar_gives_six_rows_in_two_groups_and_its_volume_only_at_its_close(tmp_path: Path) -> None:
    settings = preset("crypto_2026", write_crypto(tmp_path))
    assert settings.sessions == 2
    source = build_source(settings)
    raw = source.raw_ticks(DAY, "BTC")
    events = source.events(raw, DAY, "BTC")
    assert len(events) == 24 * bars.EVENTS_PER_BAR
    assert CLEAR not in events["action"], "a market that never closes does not start anew at midnight"
    ends = np.flatnonzero(events["flags"] & F_LAST)
    assert np.diff(ends).tolist() == [4, 2] * 23 + [4]
    best = fold_best(empty_book(), events)
    half = (best[ends, 2] - best[ends, 0]) / 2
    mid = (best[ends, 2] + best[ends, 0]) / 2
    assert (half / mid >= bars.HALF_SPREAD_PPM * 1e-6 - 1e-12).all()
    assert (best[ends, [[0], [2]]] % 10 == 0).all(), "quotes stand on BTC's tick of 0.1 dollar, ten units"
    closes = np.rint(raw["close"].to_numpy() * 100)
    np.testing.assert_allclose(mid[1::2], closes, atol=10)
    prints = events[events["action"] == TRADE]
    assert (prints["ts_event"] % NS_PER_HOUR == NS_PER_HOUR - 1_000_000).all()
    assert prints["size_lots"][:2].tolist() == [400_250, 600_250]
    assert prints["side"][:2].tolist() == [ASK, BID], "what takers bought took from the asks"
    session = settings.market_calendar().session(DAY)
    assert events["ts_recv"].max() < session.close_ns, "the last close is known inside its session"
    checks, _ = audit_events(
        events, settings.instrument("BTC"), session, traded_lots=source.traded_lots(raw, DAY, "BTC")
    )
    assert all(check.passed for check in checks)


def test_a_missing_hour_makes_the_book_unknown(tmp_path: Path) -> None:
    source = build_source(preset("crypto_2026", write_crypto(tmp_path, skip=(0, 5))))
    events = source.events(source.raw_ticks(DAY, "ETH"), DAY, "ETH")
    cleared = events["ts_event"][events["action"] == CLEAR]
    assert ((cleared - MIDNIGHT) // NS_PER_HOUR).tolist() == [1, 6]


def test_slow_rows_are_known_after_they_happened_by_the_declared_delay(tmp_path: Path) -> None:
    settings = preset("crypto_2026", write_crypto(tmp_path))
    source = build_source(settings)
    session = settings.market_calendar().session(DAY)
    frames = {kind: source.slow_raw(kind, DAY) for kind in source.slow_kinds}
    assert {kind: frame.height for kind, frame in frames.items()} == {"options": 1, "social": 2, "onchain": 3}
    delays = {"options": NS_PER_MINUTE, "social": 15 * NS_PER_MINUTE, "onchain": NS_PER_HOUR}
    for kind, frame in frames.items():
        assert list(frame.columns) == list(SLOW_SCHEMAS[kind])
        assert (frame["ts_known"] - frame[HAPPENED[kind]] == delays[kind]).all()
        assert [c.name for c in audit_slow(kind, frame, session)[0] if c.blocking and not c.passed] == []
    (option,) = frames["options"].rows(named=True)
    assert option["bid"] is None
    assert (option["is_call"], option["volume"], option["underlying"]) == (True, 111.3, 88_063.13)
    posts = frames["social"]
    assert posts["symbol"].to_list() == ["BTC", "ETH"], (
        "the post names both; the wallet question neither; one is generated"
    )
    assert posts["text"][0] == "Bitcoin and Ethereum rise. More & more"
    transfers = frames["onchain"]
    assert transfers.select("from_label", "to_label").rows() == [("", "Bybit"), ("Bybit", ""), ("OKX", "OKX")]
    late = source.slow_raw("onchain", date(2025, 12, 31))
    assert late["label_known_since"].to_list() == [NEVER], "known after midnight, and never labelled"


def test_a_day_without_recorded_posts_is_empty_and_says_so(tmp_path: Path) -> None:
    settings = preset("crypto_2026", write_crypto(tmp_path))
    frame = build_source(settings).slow_raw("social", date(2025, 12, 31))
    checks, _ = audit_slow("social", frame, settings.market_calendar().session(date(2025, 12, 31)))
    assert [c.name for c in checks if not c.passed] == ["slow_rows_exist", "slow_rows_are_fresh"]
    assert not any(c.blocking for c in checks if not c.passed)


def test_a_folder_that_lacks_one_of_the_recordings_is_refused_with_the_missing_file(tmp_path: Path) -> None:
    write_crypto(tmp_path)
    (tmp_path / "onchain/btc_whales_2026/whale_tx_20251221_20251231.csv.gz").unlink()
    with pytest.raises(SettingsError, match=r"onchain/btc_whales_2026/whale_tx_START_END\.csv\.gz: no such file"):
        preset("crypto_2026", tmp_path)


@pytest.mark.realdata
def test_five_months_are_read_whole_and_pass_every_audit(shared_data: Path) -> None:
    settings = preset("crypto_2026", shared_data)
    source = build_source(settings)
    sessions = source.sessions()
    assert (len(sessions), sessions[0].date, sessions[-1].date) == (122, date(2025, 12, 30), date(2026, 4, 30))
    rows = dict.fromkeys(source.slow_kinds, 0)
    for session in sessions:
        for item in settings.instruments:
            raw = source.raw_ticks(session.date, item.symbol)
            events = source.events(raw, session.date, item.symbol)
            assert len(events) == 144
            traded = source.traded_lots(raw, session.date, item.symbol)
            checks = audit_raw_ticks(raw, settings, item.symbol)[0]
            checks += audit_events(events, item, session, traded_lots=traded)[0]
            assert [c for c in checks if not c.passed] == []
        for kind in source.slow_kinds:
            frame = source.slow_raw(kind, session.date)
            rows[kind] += frame.height
            assert [c for c in audit_slow(kind, frame, session)[0] if c.blocking and not c.passed] == []
    assert rows["options"] > 190_000
    assert rows["social"] > 300
    assert rows["onchain"] > 700


@pytest.mark.realdata
def test_option_volumes_give_the_unusual_rows_that_the_rule_counts(shared_data: Path) -> None:
    """R11: z of volume against the contract's 30 rows before (10 at least) above 3, and more than 100,000 dollars."""
    chains = pl.concat([deribit.read_month(path) for path in deribit.find_files([shared_data])]).sort(
        "contract", "ts_known"
    )
    chains = chains.with_columns(
        pl.col("volume").shift(1).rolling_mean(30, min_samples=10).over("contract").alias("mean"),
        pl.col("volume").shift(1).rolling_std(30, min_samples=10).over("contract").alias("sigma"),
    )
    z = (pl.col("volume") - pl.col("mean")) / pl.col("sigma")
    unusual = chains.filter((pl.col("sigma") > 0) & (z > 3) & (pl.col("volume_usd") > 100_000))
    assert unusual.height == 3_434
    near = (pl.col("expiry_ns") - pl.col("ts_snapshot")) < 30 * 24 * NS_PER_HOUR
    assert unusual.filter(near).height == 1_221


@pytest.mark.realdata
def test_recorded_classes_of_transfers_are_the_labels_of_their_day(shared_data: Path) -> None:
    (path,) = whales.find_files([shared_data])
    transfers = whales.read_transfers(path)
    labelled = transfers.filter((pl.col("from_label") != "") | (pl.col("to_label") != ""))
    assert (transfers.height, labelled.height) == (1_182, 218)
    assert (labelled["label_known_since"] == labelled["ts_known"]).all()
    assert (transfers.filter(pl.col("label_known_since") == NEVER).height) == 964
