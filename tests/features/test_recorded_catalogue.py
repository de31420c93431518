"""The whole catalogue on recorded markets: nothing infinite, and what must be known is known."""

from pathlib import Path

import numpy as np
import pytest

from features.catalog import catalogue
from features.pipeline import FeaturePipeline, session_pipeline
from marketdata.clock import NS_PER_S
from marketdata.codecs.binance import SPOT, BinanceCodec
from marketdata.codecs.catalog import build_codec, infer_grid
from marketdata.events import EventArray
from marketdata.frames import RAISE
from marketdata.recordings import read_binance_arrays
from marketdata.settings import SamplingSettings, Settings
from marketdata.sources import build_source, preset

pytestmark = pytest.mark.realdata


def _hold(pipeline: FeaturePipeline, events: EventArray) -> None:
    rows = pipeline.step(pipeline.init(), events)[1]
    assert len(rows.keys) > 500
    assert not np.isinf(rows.values).any()
    age = rows.key("ts_recv") - rows.key("ts_recv")[0]
    has_book = bool((rows.key("bid_lots") > 0).all())
    for k, entry in enumerate(catalogue(pipeline.spec)):
        if entry.may_be_unknown or entry.key == "mid_age" or (entry.needs_book and not has_book):
            continue
        late = age > max(entry.memory_ns, entry.warmup_ns) + 5 * NS_PER_S
        assert not np.isnan(rows.values[late, k]).any(), entry.name


def _settings(settings: Settings) -> Settings:
    sampling = settings.sampling.model_copy(update={"families": ("all",)})
    return settings.model_copy(update={"sampling": sampling})


@pytest.mark.parametrize(
    ("source", "folder", "symbol"),
    [("lobster", "lobster", "AMZN"), ("lobster", "lobster", "AAPL"), ("lean_equity", "lean_us_equity", "IBM")],
)
def test_every_feature_is_finite_on_a_recorded_stock(shared_data: Path, source: str, folder: str, symbol: str) -> None:
    settings = _settings(preset(source, shared_data / "market" / folder))
    found = build_source(settings)
    session = found.sessions()[0]
    events = found.events(found.raw_ticks(session.date, symbol), session.date, symbol)
    _hold(session_pipeline(settings, settings.instrument(symbol), session), events)


def test_every_feature_is_finite_on_a_recorded_crypto_book(shared_data: Path) -> None:
    folder = shared_data / "market" / "binance_depth_2020" / "ETHBTC"
    parts = [folder / f"2020-11-01T09-00-00_{kind}.json.gz" for kind in ("snapshot", "update", "trades")]
    recording = read_binance_arrays(
        parts[0], parts[1:], "wss://recorded", BinanceCodec(SPOT, {}).snapshot_url("ETHBTC")
    )
    grid = infer_grid("binance_spot", recording)
    codec = build_codec("binance_spot", grid, RAISE)
    events = codec.step(codec.init(), recording)[1].events
    start, end = int(events["ts_recv"].min()), int(events["ts_recv"].max()) + 1
    sampling = SamplingSettings(families=("all",))
    _hold(FeaturePipeline(grid["ETHBTC"], sampling, start, end, True), events)
