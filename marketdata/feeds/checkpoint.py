"""Where a live feed was: the last sequence numbers and the books that belong to them, in one file, whole or not at all."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from marketdata.events import EventArray
from marketdata.feeds.books import BookKeeper, snapshot_rows
from marketdata.frames import FrameCodec, ResumableCodec
from marketdata.instruments import Instrument

LOG: Final = logging.getLogger(__name__)
VERSION: Final = 1


class SavedBook(msgspec.Struct, frozen=True):
    """One instrument: its numbers, its book, and the grid that its integers are on."""

    instrument_id: int
    price_decimals: float
    lot_size: float
    numbers: tuple[int, ...]
    sequence: int
    ts_event: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]

    def fits(self, instrument: Instrument) -> bool:
        """Return whether the book can be this instrument's."""
        here = (instrument.instrument_id, instrument.price_decimals, instrument.lot_size)
        return here == (self.instrument_id, self.price_decimals, self.lot_size)

    def rows(self) -> EventArray:
        """Return the book as a snapshot group; ``ts_recv`` is left at zero."""
        rows = snapshot_rows(self.bids, self.asks)
        rows["instrument_id"], rows["sequence"], rows["ts_event"] = self.instrument_id, self.sequence, self.ts_event
        return rows


class FeedCheckpoint(msgspec.Struct, frozen=True):
    """A feed's checkpoint: books by venue and by the venue's symbol."""

    version: int
    written_ns: int
    venues: dict[str, dict[str, SavedBook]]


def make_checkpoint(codecs: Mapping[FrameCodec, object], keeper: BookKeeper, written_ns: int) -> FeedCheckpoint:
    """Return a checkpoint of codecs with their states; only what can be resumed is in it."""
    venues: dict[str, dict[str, SavedBook]] = {}
    for codec, state in codecs.items():
        if not isinstance(codec, ResumableCodec):
            continue
        saved = venues.setdefault(codec.venue, {})
        for symbol, numbers in codec.sequences(state).items():
            item = codec.instruments[symbol]
            kept = keeper.books.get(item.instrument_id)
            if kept is None or not kept.is_known or kept.has_orders:
                continue
            saved[symbol] = SavedBook(
                item.instrument_id,
                item.price_decimals,
                item.lot_size,
                tuple(numbers),
                kept.sequence,
                kept.ts_event,
                kept.levels(0),
                kept.levels(1),
            )
    return FeedCheckpoint(VERSION, written_ns, venues)


def save_checkpoint(checkpoint: FeedCheckpoint, path: Path, *, sync: bool = False) -> None:
    """Write a checkpoint under a temporary name and rename it; ``sync``: wait until the disk has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(msgspec.msgpack.encode(checkpoint))
        if sync:
            file.flush()
            os.fsync(file.fileno())
    os.replace(temporary, path)


def load_checkpoint(path: Path) -> FeedCheckpoint | None:
    """Return the checkpoint in a file; None where there is none or it cannot be read.

    Starting without one costs a snapshot from the venue and nothing else, so a broken file is logged, not raised.
    """
    try:
        found = msgspec.msgpack.decode(path.read_bytes(), type=FeedCheckpoint)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        LOG.warning("%s: no checkpoint that can be read (%s); books come from the venue", path, error)
        return None
    return found if found.version == VERSION else None


def resumable_books(
    checkpoint: FeedCheckpoint | None, codec: FrameCodec, symbols: tuple[str, ...]
) -> dict[str, SavedBook]:
    """Return the saved books that a codec can go on from: of these symbols and on the same grid."""
    if checkpoint is None or not isinstance(codec, ResumableCodec):
        return {}
    saved = checkpoint.venues.get(codec.venue, {})
    return {s: saved[s] for s in symbols if s in saved and saved[s].fits(codec.instruments[s])}


def as_received(rows: EventArray, ts_recv: int) -> EventArray:
    """Return rows as received at ``ts_recv``."""
    out = np.array(rows)
    out["ts_recv"] = ts_recv
    return out
