"""Spot and perpetual bitcoin, recorded at the same time: what the monitor finds, and what fees, latency and age leave of it."""

from pathlib import Path

import pytest

from marketdata.codecs.binance import SPOT, USDM, BinanceCodec
from marketdata.codecs.catalog import infer_grid
from marketdata.events import EventArray, merge_events
from marketdata.frames import RAISE
from marketdata.instruments import Fees, Instrument
from marketdata.recordings import read_binance_raw
from trading.arbitrage import ArbitrageMonitor
from trading.arbitrage_report import ArbitrageReport, watch_recording

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def markets(shared_data: Path) -> tuple[list[Instrument], EventArray]:
    legs, parts = [], []
    for k, (market, folder) in enumerate(((SPOT, "spot"), (USDM, "usdm"))):
        path = shared_data / f"market/binance_raw_2024/{folder}/btcusdt_20240808.gz"
        recording = read_binance_raw(path, "wss://recorded", BinanceCodec(market, {}).snapshot_url("BTCUSDT"))
        found = infer_grid(market.venue, recording)["BTCUSDT"]
        leg = found.model_copy(update={"instrument_id": k, "symbol": folder})
        codec = BinanceCodec(market, {"BTCUSDT": leg}, RAISE)
        parts.append(codec.step(codec.init(), recording)[1].events)
        legs.append(leg)
    return legs, merge_events(parts)


def _watched(markets: tuple[list[Instrument], EventArray], *taker_ppm: int) -> ArbitrageReport:
    legs, events = markets
    paid = [leg.model_copy(update={"fees": Fees(taker_ppm=ppm)}) for leg, ppm in zip(legs, taker_ppm, strict=True)]
    return watch_recording(ArbitrageMonitor(tuple(paid), size=0.1), events)


def test_the_perpetual_stands_below_spot_all_the_time_and_the_other_way_is_gone_before_an_order(
    markets: tuple[list[Instrument], EventArray],
) -> None:
    made = _watched(markets, 0, 0)
    over, back = made.pairs
    assert (over["buy"], back["buy"]) == ("spot", "usdm")
    assert back["open_share"] > 0.999, "a basis, not an arbitrage: nobody can deliver the one for the other"
    assert back["peak_bps"] == pytest.approx(14.16, abs=0.01)
    assert over["opportunities"] == 1
    assert over["longest_ms"] == pytest.approx(16.8, abs=0.1)
    assert (over["alive_share"], over["later_profit"]) == (0.0, 0.0), "over before 50 ms had passed"


def test_the_fees_of_a_small_account_leave_nothing(markets: tuple[list[Instrument], EventArray]) -> None:
    # 10 basis points for taking spot, 5 for the perpetual: 15 against 14.2 at the very most.
    assert sum(pair["opportunities"] for pair in _watched(markets, 1_000, 500).pairs) == 0


def test_a_shorter_patience_with_a_quiet_book_cuts_one_opportunity_into_thousands(
    markets: tuple[list[Instrument], EventArray],
) -> None:
    by_age = {row["stale_ms"]: row for row in _watched(markets, 0, 0).staleness}
    assert by_age[50.0]["opportunities"] > 5_000 > 20 > by_age[1_000.0]["opportunities"]
    # Spot depth comes every 100 ms: half of the time its book is older than 50.
    assert by_age[50.0]["fresh_s"] == pytest.approx(0.6 * by_age[1_000.0]["fresh_s"], rel=0.05)
    assert by_age[50.0]["alive_share"] < 0.4 < by_age[1_000.0]["alive_share"]
