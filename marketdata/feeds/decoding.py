"""Frames to stream items: one codec, its state, and what a feed tells about it. The same for live, TCP and replayed frames."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

import numpy as np

from marketdata.events import CLEAR, CLOCK_OFFSET_CORRECTED, F_LAST, F_SNAPSHOT, EventArray
from marketdata.feeds.metrics import FeedMetrics
from marketdata.frames import Decoded, FrameBatch, FrameCodec
from marketdata.messages import EventBatch, FeedStatus, StatusKind, StreamItem

WHOLE: Final = F_SNAPSHOT | F_LAST


class FrameSink(Protocol):
    """Where frames are kept verbatim: a capture, or a quarantine."""

    def write(self, stream: str, ts_recv: int, payload: bytes) -> None:
        """Keep a frame; ``ts_recv`` is the receive time as read, ns, without any correction."""
        ...


class FrameDecoder:
    """Runs a codec over frames as they come and gives stream items.

    Parameters
    ----------
    codec : FrameCodec
    metrics : FeedMetrics
        Counted into; may be shared by several decoders of one feed.
    clock_offset_ns : int
        Added to every receive time (R4): the events say ``offset_corrected``, a tee still gets the raw time.
    quarantine : FrameSink, optional
        Gets frames that could not be read.
    state : optional
        Codec state to go on from (:meth:`marketdata.frames.ResumableCodec.resume`); default: no book known.
    """

    def __init__(
        self,
        codec: FrameCodec,
        metrics: FeedMetrics,
        *,
        clock_offset_ns: int = 0,
        quarantine: FrameSink | None = None,
        state: Any = None,
    ) -> None:
        self.codec = codec
        self.metrics = metrics
        self.state = codec.init() if state is None else state
        self.wants: tuple[str, ...] = ()
        self._offset_ns = clock_offset_ns
        self._quarantine = quarantine
        self._symbols: Mapping[int, str] = {item.instrument_id: symbol for symbol, item in codec.instruments.items()}
        self.lost: set[int] = set()

    def step(self, batch: FrameBatch, mark_ns: int) -> list[StreamItem]:
        """Return what a batch of frames means.

        Parameters
        ----------
        batch : FrameBatch
            At least one frame.
        mark_ns : int
            The last watermark given: no row may lie before it. Rows of frames that the codec had kept back have their time
            moved up to it, for only now can they be used (``held_rows``).

        Raises
        ------
        marketdata.frames.FrameError
            If a frame cannot be read and the codec's policy is to raise.
        """
        self.metrics.saw_frames(len(batch), len(batch.data), int(batch.ts_recv[-1]))
        self.state, decoded = self.codec.step(self.state, batch)
        self.wants = decoded.wants_snapshot
        items: list[StreamItem] = []
        if decoded.gaps or decoded.rejected or decoded.ignored:
            items += self._told(decoded, batch)
        events = self._in_time(decoded.events, mark_ns)
        mark_ns = max(mark_ns, int(batch.ts_recv[-1]) + self._offset_ns)
        if len(events):
            mark_ns = max(mark_ns, int(events["ts_recv"][-1]))
        self.metrics.saw_events(events, mark_ns)
        items.append(EventBatch(events, mark_ns))
        if len(events) and (self.lost or decoded.gaps or events["flags"].max() >= F_SNAPSHOT):
            items += self._synced(events, int(batch.ts_recv[-1]))
        return items

    def _in_time(self, events: EventArray, floor_ns: int) -> EventArray:
        if not len(events):
            return events
        if self._offset_ns:
            events = events.copy()
            events["ts_recv"] += self._offset_ns
            events["clock_quality"] = CLOCK_OFFSET_CORRECTED
        times = events["ts_recv"]
        if times[0] < floor_ns or (len(times) > 1 and np.any(times[1:] < times[:-1])):
            moved = np.maximum.accumulate(np.maximum(times, floor_ns))
            self.metrics.held_rows += int(np.count_nonzero(moved != times))
            events = events.copy()
            events["ts_recv"] = moved
        return events

    def _told(self, decoded: Decoded, batch: FrameBatch) -> list[StreamItem]:
        items: list[StreamItem] = []
        self.metrics.ignored.update(decoded.ignored)
        self.metrics.frames -= decoded.ignored.get("opened", 0)
        self.metrics.gaps += len(decoded.gaps)
        self.metrics.rejected += len(decoded.rejected)
        # A gap that clears a book counts at its CLEAR row: a snapshot before it in the same rows mends no loss.
        clears = (decoded.events["action"] == CLEAR) & (decoded.events["flags"] & F_SNAPSHOT == 0)
        cleared = set(decoded.events["instrument_id"][clears].tolist()) if decoded.gaps else set()
        for gap in decoded.gaps:
            if gap.symbol in self.codec.instruments and self.codec.instruments[gap.symbol].instrument_id not in cleared:
                self.lost.add(self.codec.instruments[gap.symbol].instrument_id)
            items.append(
                FeedStatus(0, StatusKind.GAP, gap.ts_recv, self.codec.venue, gap.symbol, gap.expected, gap.found)
            )
        for frame, offset, reason in decoded.rejected:
            stream, ts_recv = batch.streams[batch.stream[frame]], int(batch.ts_recv[frame])
            if self._quarantine is not None:
                self._quarantine.write(stream, ts_recv, batch.frame(frame))
            items.append(FeedStatus(0, StatusKind.REJECTED, ts_recv, stream, detail=f"byte {offset}: {reason}"))
        return items

    def _synced(self, events: EventArray, ts_recv: int) -> list[StreamItem]:
        """Return a status for each book that became known in these rows and did not get lost again in them."""
        rows = np.flatnonzero((events["flags"] & WHOLE == WHOLE) | (events["action"] == CLEAR))
        if not len(rows):
            return []
        known: dict[int, int] = {}
        for row in events[rows].tolist():
            *_, sequence, instrument, action, _, flags, _ = row
            if flags & WHOLE == WHOLE:
                self.metrics.snapshots += 1
                self.metrics.resyncs += instrument in self.lost
                self.lost.discard(instrument)
                known[instrument] = sequence
            elif not flags & F_SNAPSHOT and action == CLEAR:
                self.lost.add(instrument)
                known.pop(instrument, None)
        items: list[StreamItem] = []
        for instrument, sequence in known.items():
            symbol = self._symbols.get(instrument, str(instrument))
            items.append(FeedStatus(0, StatusKind.SYNCED, ts_recv, self.codec.venue, symbol, found=sequence))
        return items
