"""A live feed in a process of its own, to be killed: `python feed_worker.py <port> <checkpoint>`."""

import sys
from pathlib import Path

from marketdata.feeds.websocket import WebSocketFeed
from marketdata.feeds.websocket_settings import WebSocketSettings
from tests.feeds.binance_like import ADDRESSES, spot_codec


def main(port: str, checkpoint: str) -> None:
    socket, rest = ADDRESSES["binance_spot"]
    feed = WebSocketFeed(
        [spot_codec("AAAUSDT")],
        settings=WebSocketSettings(proxy=None, checkpoint_s=0.0, idle_s=0.01),
        addresses={socket: f"ws://127.0.0.1:{port}", rest: f"http://127.0.0.1:{port}"},
        checkpoint=Path(checkpoint),
    )
    for _ in feed:
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
