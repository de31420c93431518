"""Feeds: whatever events come from, as one stream of batches, watermarks, statuses and sessions.

:class:`ReplayFeed` gives recorded or simulated events; :class:`SocketFeed` is a client of :func:`serve_stream`. Live venues,
raw TCP, Kafka and the shared-memory ring have modules of their own, which load their libraries only when they are used;
:mod:`marketdata.feeds.catalog` opens any of them by address.
"""

from marketdata.feeds.metrics import FeedMetrics
from marketdata.feeds.protocol import Feed, FeedError, WallClock, consume
from marketdata.feeds.replay import FrameReplayFeed, ReplayFeed, stream_session
from marketdata.feeds.stream import SocketFeed
from marketdata.messages import OLDEST, EventBatch, FeedStatus, StatusKind, StreamItem
from marketdata.stream_server import serve_stream

__all__ = [
    "OLDEST",
    "EventBatch",
    "Feed",
    "FeedError",
    "FeedMetrics",
    "FeedStatus",
    "FrameReplayFeed",
    "ReplayFeed",
    "SocketFeed",
    "StatusKind",
    "StreamItem",
    "WallClock",
    "consume",
    "serve_stream",
    "stream_session",
]
