"""Live venues over WebSocket: any number of codecs, one connection an endpoint, books kept whole over everything a network does.

    connections ─┐
    REST answers ─┴▶ inbox (stamps) ──▶ consumer's thread: tee ▶ codec ▶ items

The network runs in a thread of its own and only moves bytes; decoding, books and checkpoint run where the feed is iterated.
When the consumer is slow the inbox grows to a limit, then sockets are no longer read: nothing is dropped here, the venue
may disconnect, and that is a gap like any other.
"""

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from marketdata.events import CLEAR, HIDDEN, STATUS, TRADE, EventArray, empty_events
from marketdata.feeds.books import BookKeeper
from marketdata.feeds.checkpoint import (
    SavedBook,
    as_received,
    load_checkpoint,
    make_checkpoint,
    resumable_books,
    save_checkpoint,
)
from marketdata.feeds.connection import AsyncClock
from marketdata.feeds.decoding import FrameDecoder, FrameSink
from marketdata.feeds.inbox import Entry, Inbox, Received
from marketdata.feeds.metrics import FeedMetrics
from marketdata.feeds.network import Network
from marketdata.feeds.protocol import FeedError
from marketdata.feeds.websocket_settings import WebSocketSettings
from marketdata.frames import FrameBatch, FrameCodec, ResumableCodec
from marketdata.messages import EventBatch, FeedStatus, StatusKind, StreamItem

NEVER: Final = float("-inf")


@dataclass
class _Leg:
    """One codec of the feed and what the consumer's side knows about it."""

    codec: FrameCodec
    symbols: tuple[str, ...]
    streams: frozenset[str]
    decoder: FrameDecoder
    resumed: dict[int, SavedBook]
    asked: set[str] = field(default_factory=set)
    opened: bool = False
    lost: set[str] = field(default_factory=set)
    no_renew_before: float = NEVER


class WebSocketFeed:
    """A live feed of one or more venues.

    Parameters
    ----------
    codecs : sequence of FrameCodec
        Of different venues; instrument ids must differ.
    symbols : mapping of str to sequence of str, optional
        The venue's symbols wanted, by venue; default: all instruments of each codec.
    settings : WebSocketSettings
    addresses : mapping of str to str
        Beginnings of addresses and what is used in their place: a venue's mirror or test net.
    checkpoint : Path, optional
        File that keeps the last sequence numbers with their books. A restart whose stream goes on from there without a hole needs
        no snapshot; its books are given out as a snapshot group first, so that a consumer with or without memory is right.
    tee : FrameSink, optional
        Gets every frame verbatim, REST answers included, with its raw receive time, before it is decoded.
    quarantine : FrameSink, optional
        Gets frames that the codec could not read.
    clock : AsyncClock
    seed : int
        Of the backoffs' jitter.

    Raises
    ------
    ValueError
        If a symbol is not among its codec's instruments, or two codecs share a venue or an instrument id.
    """

    def __init__(
        self,
        codecs: Sequence[FrameCodec],
        symbols: Mapping[str, Sequence[str]] | None = None,
        *,
        settings: WebSocketSettings | None = None,
        addresses: Mapping[str, str] | None = None,
        checkpoint: Path | None = None,
        tee: FrameSink | None = None,
        quarantine: FrameSink | None = None,
        clock: AsyncClock | None = None,
        seed: int = 1,
    ) -> None:
        self.metrics = FeedMetrics()
        self.settings = settings or WebSocketSettings()
        self._codecs = tuple(codecs)
        self._symbols = _symbols_of(self._codecs, symbols or {})
        self._addresses = dict(addresses or {})
        self._checkpoint = checkpoint
        self._tee = tee
        self._quarantine = quarantine
        self._clock = clock or AsyncClock(time.time_ns, time.monotonic, asyncio.sleep)
        self._seed = seed
        self._closed = threading.Event()
        self._inbox: Inbox | None = None
        self._saved_at = NEVER
        self._keeper = BookKeeper()
        self._legs: list[_Leg] = []

    @property
    def name(self) -> str:
        """Return the venues."""
        return "+".join(codec.venue for codec in self._codecs)

    def close(self) -> None:
        """End the iteration; connections are closed and the checkpoint is written by the iterating thread."""
        self._closed.set()
        inbox = self._inbox
        if inbox is not None:
            inbox.close()

    def __iter__(self) -> Iterator[StreamItem]:
        """Connect and give items until the feed is closed.

        Raises
        ------
        FeedError
            If a connection cannot be had: the reason names the host and what stands in the way.
        marketdata.frames.FrameError
            If a frame cannot be read and the codec's policy is to raise.
        """
        if self._inbox is not None:
            raise FeedError(f"{self.name}: this feed is being iterated already; make a second one")
        inbox = self._inbox = Inbox(self._clock.wall_ns)
        self._legs = self._open_legs()
        endpoints = [(k, end) for k, leg in enumerate(self._legs) for end in leg.codec.endpoints(leg.symbols)]
        network = Network(endpoints, self._addresses, inbox, self.metrics, self.settings, self._clock, self._seed)
        network.start()
        try:
            yield from self._items(inbox, network)
        finally:
            network.stop()
            self._save(sync=True)
            self._inbox = None

    def _open_legs(self) -> list[_Leg]:
        self._keeper = BookKeeper()
        saved = load_checkpoint(self._checkpoint) if self._checkpoint is not None else None
        legs = []
        for codec, symbols in zip(self._codecs, self._symbols, strict=True):
            books = resumable_books(saved, codec, symbols)
            state = None
            if books and isinstance(codec, ResumableCodec):
                state = codec.resume({symbol: book.numbers for symbol, book in books.items()})
            decoder = FrameDecoder(
                codec,
                self.metrics,
                clock_offset_ns=self.settings.clock_offset_ns,
                quarantine=self._quarantine,
                state=state,
            )
            streams = frozenset(end.url for end in codec.endpoints(symbols))
            legs.append(_Leg(codec, symbols, streams, decoder, {b.instrument_id: b for b in books.values()}))
        return legs

    def _items(self, inbox: Inbox, network: Network) -> Iterator[StreamItem]:
        settings, offset_ns = self.settings, self.settings.clock_offset_ns
        mark_ns, started = -(2**63), self._clock.monotonic()
        nothing = empty_events(0)
        while not self._closed.is_set():
            entries, now_ns = inbox.take(settings.batch_frames, settings.idle_s)
            for part in _runs(entries):
                if isinstance(part, FeedStatus):
                    self._on_status(part, network)
                    yield part
                    continue
                for item in self._decode(part, mark_ns, network):
                    if isinstance(item, EventBatch):
                        mark_ns = item.watermark_ns
                    yield item
            if not entries:
                mark_ns = self.metrics.watermark_ns = max(mark_ns, now_ns + offset_ns)
                yield EventBatch(nothing, mark_ns)
            now = self._clock.monotonic()
            if now - started > settings.resume_s:
                self._ask_unconfirmed(network)
            if self._checkpoint is not None and now - self._saved_at >= settings.checkpoint_s:
                self._save(sync=False)

    def _decode(self, run: list[Received], mark_ns: int, network: Network) -> Iterator[StreamItem]:
        """Give the items of frames of one codec, and ask for the snapshots that it then wants."""
        if self._tee is not None:
            for read in run:
                for payload in read.payloads:
                    self._tee.write(read.stream, read.ts_recv, payload)
        number = run[0].leg
        leg = self._legs[number]
        items = leg.decoder.step(_batch(run), mark_ns)
        for symbol in [s for s in leg.asked if leg.codec.snapshot_url(s) in {read.stream for read in run}]:
            leg.asked.discard(symbol)
            self._want(number, leg, [symbol] if symbol in leg.decoder.wants else [], network, again=True)
        for item in items:
            if isinstance(item, FeedStatus) and item.kind is StatusKind.GAP:
                leg.lost.add(item.symbol)
            elif isinstance(item, FeedStatus) and item.kind is StatusKind.SYNCED:
                leg.lost.discard(item.symbol)
        self._want(number, leg, leg.decoder.wants, network, again=False)
        for item in items:
            if isinstance(item, EventBatch):
                if leg.resumed:
                    yield from self._resume(leg, item.events, mark_ns)
                if self._checkpoint is not None:
                    self._keeper.apply(item.events)
            yield item

    def _want(self, number: int, leg: _Leg, symbols: Sequence[str], network: Network, *, again: bool) -> None:
        for symbol in symbols:
            if symbol in leg.asked or symbol not in leg.symbols:
                continue
            url = leg.codec.snapshot_url(symbol)
            if url is not None:
                leg.asked.add(symbol)
                network.ask_snapshot(number, symbol, url, again=again)
            elif symbol in leg.lost and self._clock.monotonic() >= leg.no_renew_before:
                leg.no_renew_before = self._clock.monotonic() + self.settings.renew_s
                network.renew(number)

    def _on_status(self, status: FeedStatus, network: Network) -> None:
        """Ask for the first books as soon as a codec's connection is open."""
        if status.kind is not StatusKind.CONNECTED:
            return
        for number, leg in enumerate(self._legs):
            if status.feed in leg.streams and not leg.opened:
                leg.opened = True
                resumed = {leg.codec.instruments[s].instrument_id: s for s in leg.symbols}
                wanted = [symbol for k, symbol in resumed.items() if k not in leg.resumed]
                self._want(number, leg, wanted, network, again=False)

    def _resume(self, leg: _Leg, events: EventArray, mark_ns: int) -> Iterator[StreamItem]:
        """Give the saved books of instruments whose stream has just gone on from them; forget those that it did not."""
        actions, ids = events["action"], events["instrument_id"]
        of_book = (actions != TRADE) & (actions != HIDDEN) & (actions != STATUS)
        for instrument in np.unique(ids[of_book]).tolist():
            book = leg.resumed.pop(instrument, None)
            first = int(np.argmax(of_book & (ids == instrument)))
            if book is None or actions[first] == CLEAR:
                continue
            rows = as_received(book.rows(), max(int(events["ts_recv"][0]), mark_ns))
            ts_recv = int(rows["ts_recv"][0])
            rows["clock_quality"] = events["clock_quality"][0]
            self._keeper.apply(rows)
            self.metrics.saw_events(rows, ts_recv)
            yield EventBatch(rows, ts_recv)
            symbol = next(s for s, item in leg.codec.instruments.items() if item.instrument_id == instrument)
            yield FeedStatus(
                0,
                StatusKind.SYNCED,
                ts_recv,
                leg.codec.venue,
                symbol,
                found=book.sequence,
                detail="gone on from the checkpoint without a hole",
            )

    def _ask_unconfirmed(self, network: Network) -> None:
        for number, leg in enumerate(self._legs):
            if leg.resumed:
                waiting = [s for s in leg.symbols if leg.codec.instruments[s].instrument_id in leg.resumed]
                self._want(number, leg, waiting, network, again=False)

    def _save(self, *, sync: bool) -> None:
        if self._checkpoint is None:
            return
        self._saved_at = self._clock.monotonic()
        states = {leg.codec: leg.decoder.state for leg in self._legs}
        for leg in self._legs:
            for book in leg.resumed.values():  # still unconfirmed: the next restart may go on from it as well
                if book.instrument_id not in self._keeper.books:
                    self._keeper.apply(book.rows())
        save_checkpoint(make_checkpoint(states, self._keeper, self._clock.wall_ns()), self._checkpoint, sync=sync)


def _symbols_of(codecs: Sequence[FrameCodec], chosen: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    venues = [codec.venue for codec in codecs]
    if not codecs or len(set(venues)) < len(venues):
        raise ValueError(f"a feed has one codec for each of its venues, at least one; these are {venues}")
    unknown = sorted(set(chosen) - set(venues))
    if unknown:
        raise ValueError(f"symbols of {', '.join(unknown)}, but the codecs are of {', '.join(venues)}")
    taken: dict[int, str] = {}
    found = []
    for codec in codecs:
        symbols = tuple(chosen.get(codec.venue, codec.instruments))
        for symbol in symbols:
            if symbol not in codec.instruments:
                known = ", ".join(codec.instruments)
                raise ValueError(f"{codec.venue}: no instrument is given for symbol {symbol!r}, only for {known}")
            number, whose = codec.instruments[symbol].instrument_id, f"{codec.venue} {symbol}"
            if number in taken:
                raise ValueError(f"{taken[number]} and {whose} share instrument id {number}")
            taken[number] = whose
        if not symbols:
            raise ValueError(f"{codec.venue}: no symbols")
        found.append(symbols)
    return found


def _runs(entries: Sequence[Entry]) -> Iterator[FeedStatus | list[Received]]:
    """Give statuses one by one and frames in runs of one codec, in order."""
    run: list[Received] = []
    for entry in entries:
        if isinstance(entry, FeedStatus) or (run and run[0].leg != entry.leg):
            if run:
                yield run
            run = []
        if isinstance(entry, FeedStatus):
            yield entry
        else:
            run.append(entry)
    if run:
        yield run


def _batch(run: Sequence[Received]) -> FrameBatch:
    streams: dict[str, int] = {}
    index = np.array([streams.setdefault(read.stream, len(streams)) for read in run], np.int16)
    counts = [len(read.payloads) for read in run]
    payloads = run[0].payloads if len(run) == 1 else [payload for read in run for payload in read.payloads]
    starts = np.zeros(len(payloads) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, payloads), np.int64, len(payloads)), out=starts[1:])
    return FrameBatch(
        np.frombuffer(b"".join(payloads), np.uint8),
        starts,
        np.repeat(np.array([read.ts_recv for read in run], np.int64), counts),
        np.repeat(index, counts),
        tuple(streams),
    )
