"""What every test of feeds needs: compiled kernels, because a consumer that stands still has not seen what the venue played."""

import pytest

from marketdata.feeds.books import BookKeeper
from marketdata.frames import frame_batch
from tests.feeds.binance_like import Market, spot_codec, usdm_codec


@pytest.fixture(scope="session", autouse=True)
def compiled() -> None:
    """Decode and book a few frames of both dialects once a process."""
    for is_futures, make in ((False, spot_codec), (True, usdm_codec)):
        market, codec, keeper = Market(["AAAUSDT"], 60, 1, futures=is_futures), make("AAAUSDT"), BookKeeper()
        stream = "wss://warm"
        frames = [(0, frame.payload, stream) for frame in market.script]
        frames.insert(1, (0, market.books["AAAUSDT"].snapshot(), codec.snapshot_url("AAAUSDT")))
        state = codec.init()
        for ts_recv, payload, source in frames:
            state, decoded = codec.step(state, frame_batch([(ts_recv, payload)], source))
            if len(decoded.events):
                keeper.apply(decoded.events)
