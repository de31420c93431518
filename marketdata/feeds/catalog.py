"""Every kind of feed by the beginning of its address, written out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from marketdata.feeds.decoding import FrameSink
from marketdata.feeds.protocol import Feed, FeedError
from marketdata.instruments import Instrument, instrument_name

RECORDED_AS: Final = {"itch50": "NASDAQ", "fix": "FIX"}
"""Protocols whose instruments a root of recordings calls by the market's name."""


@dataclass(frozen=True)
class FeedContext:
    """What feeds are opened with.

    Attributes
    ----------
    instruments : sequence of Instrument
        Of the data root; a venue's are those whose ``venue`` is its name, known to it by their symbol, without the venue's name
        that a root of recordings puts behind it (``BTCUSDT.binance_spot``).
    folder : Path, optional
        Where checkpoints are kept.
    speed : float, optional
        Of replays; None: as fast as possible.
    addresses : mapping of str to str
        Beginnings of venues' addresses and what is used in their place (mirrors, test nets).
    tee, quarantine : FrameSink, optional
        For feeds of frames.
    """

    instruments: Sequence[Instrument] = ()
    folder: Path | None = None
    speed: float | None = None
    addresses: Mapping[str, str] | None = None
    tee: FrameSink | None = None
    quarantine: FrameSink | None = None

    def of_venue(self, venue: str, chosen: Sequence[str] = ()) -> dict[str, Instrument]:
        """Return a venue's instruments by the venue's own symbol.

        Parameters
        ----------
        chosen : sequence of str
            Symbols that the user named, and as the venue writes them: a root's names have ``-`` for signs that no path holds.

        Raises
        ------
        FeedError
            If there are none.
        """
        names = {venue, RECORDED_AS.get(venue, venue)}
        mine = [item for item in self.instruments if item.venue in names]
        if not mine:
            known = ", ".join(sorted({item.venue for item in self.instruments})) or "none"
            raise FeedError(f"no instrument here is of venue {venue!r}; the venues are {known}")
        spelled = {instrument_name(symbol, venue): symbol for symbol in chosen}
        return {spelled.get(item.symbol, item.symbol.removesuffix(f".{item.venue}")): item for item in mine}


def _stream(rest: str, context: FeedContext) -> Feed:
    from marketdata.feeds.stream import SocketFeed
    from marketdata.messages import OLDEST

    host, port = _host_port(rest)
    return SocketFeed(host, port, next_index=OLDEST)


def _ring(rest: str, context: FeedContext) -> Feed:
    from marketdata.feeds.ring import SharedRing
    from marketdata.feeds.ring_feed import RingFeed

    return RingFeed(SharedRing.attach(rest, 10.0), wait_for_producer_s=5.0)


def _websocket(rest: str, context: FeedContext) -> Feed:
    from marketdata.codecs.catalog import build_codec
    from marketdata.feeds.websocket import WebSocketFeed
    from marketdata.frames import QUARANTINE

    symbols: dict[str, list[str]] = {}
    codecs = []
    for part in rest.split("+"):
        venue, _, chosen = part.partition("/")
        wanted = chosen.split(",") if chosen else []
        codecs.append(build_codec(venue, context.of_venue(venue, wanted), QUARANTINE))
        if wanted:
            symbols[venue] = wanted
    name = "_".join(codec.venue for codec in codecs)
    return WebSocketFeed(
        codecs,
        symbols,
        addresses=context.addresses,
        checkpoint=context.folder / f"{name}.checkpoint" if context.folder is not None else None,
        tee=context.tee,
        quarantine=context.quarantine,
    )


def _kafka(rest: str, context: FeedContext) -> Feed:
    from marketdata.feeds.kafka_feed import KafkaFeed

    ids = {item.symbol: item.instrument_id for item in context.instruments} or None
    return KafkaFeed(rest, ids, context.folder / "ticks.offsets" if context.folder is not None else None)


def _itch(rest: str, context: FeedContext) -> Feed:
    from marketdata.codecs.itch import ItchCodec
    from marketdata.codecs.itch_framing import SOUPBINTCP
    from marketdata.feeds.framing import SoupBinTcpFraming
    from marketdata.feeds.tcp import TcpFrameFeed
    from marketdata.frames import QUARANTINE

    login, _, address = rest.rpartition("@")
    user, _, password = login.partition(":")
    codec = ItchCodec(context.of_venue("itch50"), framing=SOUPBINTCP, policy=QUARANTINE)
    framing = SoupBinTcpFraming(user, password)
    host, port = _host_port(address)
    return TcpFrameFeed(codec, host, port, framing, renew_s=0.0, tee=context.tee, quarantine=context.quarantine)


def _fix(rest: str, context: FeedContext) -> Feed:
    from marketdata.codecs.fix import FixCodec
    from marketdata.codecs.fix_session import FixLogin
    from marketdata.feeds.framing import FixFraming
    from marketdata.feeds.tcp import TcpFrameFeed
    from marketdata.frames import QUARANTINE

    session, _, address = rest.rpartition("@")
    sender, _, target = session.partition(":")
    instruments = context.of_venue("fix")
    framing = FixFraming(FixLogin(sender, target) if sender else None, tuple(instruments))
    host, port = _host_port(address)
    codec = FixCodec(instruments, QUARANTINE)
    return TcpFrameFeed(codec, host, port, framing, tee=context.tee, quarantine=context.quarantine)


def _capture(rest: str, context: FeedContext) -> Feed:
    from marketdata.capture import iter_frames
    from marketdata.codecs.catalog import build_codec
    from marketdata.feeds.replay import FrameReplayFeed
    from marketdata.frames import QUARANTINE

    venue, _, path = rest.partition("/")
    codec = build_codec(venue, context.of_venue(venue), QUARANTINE)
    frames = iter_frames(Path(path))
    return FrameReplayFeed(codec, frames, context.speed, quarantine=context.quarantine, name=f"capture {path}")


def _file(rest: str, context: FeedContext) -> Feed:
    from marketdata.archive_formats import recorded_events
    from marketdata.archives import FRAME_LAYOUTS, UnknownRecording
    from marketdata.codecs.catalog import build_codec
    from marketdata.events import merge_events
    from marketdata.feeds.replay import FrameReplayFeed, ReplayFeed
    from marketdata.frames import QUARANTINE
    from marketdata.ingest import find_inputs

    venue, _, path = rest.rpartition("@")
    try:
        inputs = find_inputs([Path(path)], venue=venue or None)
        streams = sorted({given.series for given in inputs})
        if len(streams) > 1:
            raise FeedError(f"{path}: {len(streams)} streams are there, and a feed is of one: {', '.join(streams)}")
        market, name = inputs[0].venue, f"file {Path(path).name}"
        wanted = context.of_venue(market)
        if inputs[0].layout in FRAME_LAYOUTS:
            codec = build_codec(market, wanted, QUARANTINE)
            frames = chain.from_iterable(FRAME_LAYOUTS[given.layout].batches(given) for given in inputs)
            return FrameReplayFeed(codec, frames, context.speed, quarantine=context.quarantine, name=name)
        events = merge_events([recorded_events(given, wanted) for given in inputs])
        return ReplayFeed(events, context.speed, name=name)
    except UnknownRecording as error:
        raise FeedError(str(error)) from error


FEEDS: Final[Mapping[str, tuple[str, Callable[[str, FeedContext], Feed]]]] = {
    "stream": ("stream:HOST:PORT or stream:unix:/path, the event stream of another FlowSense process", _stream),
    "ring": ("ring:NAME, shared memory that `flowsense receive` fills", _ring),
    "ws": ("ws:VENUE[/SYMBOL,…][+VENUE…], live venues over WebSocket", _websocket),
    "kafka": ("kafka:HOST:PORT[,…], the ticks topic", _kafka),
    "itch": ("itch:[USER:PASSWORD@]HOST:PORT, ITCH 5.0 over SoupBinTCP", _itch),
    "fix": ("fix:[SENDER:TARGET@]HOST:PORT, FIX market data; without names it only listens", _fix),
    "capture": ("capture:VENUE/PATH, a captured file again", _capture),
    "file": ("file:[VENUE@]PATH, one stream, recorded in any form that `flowsense ingest` reads", _file),
}
"""Kinds of feeds: how their addresses look, and what opens them."""


def open_feed(address: str, context: FeedContext | None = None) -> Feed:
    """Return the feed of an address.

    Raises
    ------
    FeedError
        If the address is of no known kind, or names what is not there.
    """
    kind, _, rest = address.partition(":")
    if kind not in FEEDS or not rest:
        raise FeedError(
            f"{address!r} is no address of a feed; there are " + "; ".join(text for text, _ in FEEDS.values())
        )
    return FEEDS[kind][1](rest, context or FeedContext())


def _host_port(rest: str) -> tuple[str, int]:
    if rest.startswith("unix:"):
        return rest, 0
    host, _, port = rest.rpartition(":")
    if not host or not port.isdigit():
        raise FeedError(f"{rest!r} is no HOST:PORT")
    return host, int(port)
