"""Databento DBN files as events, decoded by the vendor's own library (``pip install flowsense[databento]``).

Schemas: ``mbo``, ``mbp-1``, ``mbp-10``, ``tbbo`` and ``trades``; records of any DBN version, zstd or plain. Records of several
instruments in one file are told apart by the metadata's mappings and by symbol mapping records.

Market by order. A trade comes as Trade (the aggressor), then Fill (each resting order), then Cancel or Modify records by which
the book loses what was filled. Here a Fill of a resting order at its own price is EXECUTE at once, and the Cancel or Modify that
follows only takes what is left to take. So volumes are counted once:

======================== ===========================================================================================
Add (A)                  ADD
Cancel (C)               DELETE or REDUCE of what the order still has beyond the venue's size
Modify (M)               REDUCE where the size falls at the same price; else DELETE and ADD in one group
Trade (T)                its size less the EXECUTE rows of its fills is TRADE, side the resting one (auctions: NONE)
Fill (F)                 EXECUTE where the order rests at that price and on the side that the Trade says; else counted
Clear (R)                CLEAR
======================== ===========================================================================================

Market by price: a record's ten levels (one for ``mbp-1``, ``tbbo``) become LEVEL rows where they differ from the record before.
A group is what the venue flags as one event (F_LAST); its rows carry the group's running number, since one packet number may have
several groups. Market by order has no trading status; the call before the opening auction is told from its crossed book
(:mod:`marketdata.codecs.opening_call`). ``F_MAYBE_BAD_BOOK`` means that the channel lost packets: the book is CLEAR and a gap
is told.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from marketdata.codecs import databento_fold as fold
from marketdata.codecs.exact import Grids, grids_of
from marketdata.codecs.opening_call import OpeningCall, with_calls
from marketdata.codecs.order_table import empty_table, grown
from marketdata.codecs.tables import SourceError
from marketdata.events import EventArray, empty_events
from marketdata.frames import Decoded, Gap
from marketdata.instruments import Instrument

Int64 = npt.NDArray[np.int64]

SCHEMAS: Final = {"mbo": (0xA0, 0), "mbp-1": (0x01, 1), "tbbo": (0x01, 1), "mbp-10": (0x0A, 10), "trades": (0x00, 0)}
"""Schema to the record type of its records and the levels they show."""
BATCH_BYTES: Final = 1 << 22
NO_TIME: Final = 2**64 - 1


@dataclass
class DbnState:
    """What a reader knows between batches."""

    arrays: fold.Fold
    slots: dict[int, int] = field(default_factory=dict)
    ignored: dict[str, int] = field(default_factory=dict)
    calls: dict[int, OpeningCall] = field(default_factory=dict)


def read_dbn(path: Path, instruments: Mapping[str, Instrument], *, batch_bytes: int = BATCH_BYTES) -> Iterator[Decoded]:
    """Yield the events of a DBN file, whole groups at a time.

    Parameters
    ----------
    instruments : mapping of str to Instrument
        By raw symbol; others are counted.
    batch_bytes : int
        Bytes of the file decoded at once.

    Raises
    ------
    SourceError
        If the vendor's library is not installed, the file is damaged or of another schema, or a record contradicts the book.
    """
    dbn = _library(path)
    names = list(instruments)
    grids = grids_of(list(instruments.values()))
    decoder = dbn.DBNDecoder()
    state: DbnState | None = None
    pending: list[Any] = []
    schema, levels, rtype = "", 0, 0
    for chunk in _chunks(path, batch_bytes):
        try:
            decoder.write(chunk)
            records = decoder.decode()
        except (dbn.DBNError, ValueError) as error:
            raise SourceError(path, f"cannot be decoded: {error}") from error
        if state is None:
            if not records:
                continue
            metadata = records.pop(0)
            schema = str(metadata.schema)
            if schema not in SCHEMAS:
                raise SourceError(path, f"schema {schema} is none of {', '.join(SCHEMAS)}")
            rtype, levels = SCHEMAS[schema]
            state = DbnState(_empty(len(names), levels))
            _map_symbols(metadata, names, state)
        kept = [record for record in records if _is_data(record, rtype, names, state)]
        pending += kept
        decoded, pending = _fold(path, schema, levels, pending, names, grids, state, last=False)
        yield decoded
    if state is None:
        raise SourceError(path, "ends before its metadata")
    if len(decoder.buffer()):
        raise SourceError(path, f"is cut off: {len(decoder.buffer())} bytes of a record at its end")
    decoded, _ = _fold(path, schema, levels, pending, names, grids, state, last=True)
    yield decoded


def _library(path: Path) -> Any:
    try:
        import databento_dbn
    except ImportError as error:
        raise SourceError(path, "reading DBN needs Databento's decoder: pip install databento-dbn") from error
    return databento_dbn


def _chunks(path: Path, size: int) -> Iterator[bytes]:
    """Yield the decompressed bytes of a file."""
    import zstandard

    try:
        with path.open("rb") as raw:
            zipped = raw.read(4) == b"\x28\xb5\x2f\xfd"
            raw.seek(0)
            frame = zstandard.ZstdDecompressor().decompressobj() if zipped else None
            while chunk := raw.read(size):
                if frame is None:
                    yield chunk
                    continue
                while chunk:  # a file may be several zstd frames
                    yield frame.decompress(chunk)
                    chunk = frame.unused_data
                    if chunk:
                        frame = zstandard.ZstdDecompressor().decompressobj()
            if frame is not None and not frame.eof:
                raise SourceError(path, "is cut off: the last zstd frame does not end")
    except (OSError, zstandard.ZstdError) as error:
        raise SourceError(path, f"cannot be read: {error}") from error


def _empty(slots: int, levels: int) -> fold.Fold:
    return fold.Fold(
        empty_table(),
        np.zeros((slots, 2, max(levels, 1), 2), np.int64),
        np.zeros(slots, np.int64),
        np.zeros(fold.COUNTERS, np.int64),
        np.zeros(1, np.int64),
        np.zeros(slots, np.int64),
    )


def _map_symbols(metadata: Any, names: list[str], state: DbnState) -> None:
    for symbol, intervals in dict(metadata.mappings).items():
        for interval in intervals:
            number = str(interval["symbol"])
            if number.isdigit():
                state.slots[int(number)] = names.index(symbol) if symbol in names else -1


def _is_data(record: Any, rtype: int, names: list[str], state: DbnState) -> bool:
    """Return whether a record is one of the schema's; learn from symbol mappings, count the rest."""
    if int(record.rtype) == rtype:
        return True
    kind = type(record).__name__
    if kind.startswith("SymbolMapping"):
        symbol = record.stype_out_symbol
        state.slots[record.instrument_id] = names.index(symbol) if symbol in names else -1
    state.ignored[f"record {kind}"] = state.ignored.get(f"record {kind}", 0) + 1
    return False


def _fold(
    path: Path,
    schema: str,
    levels: int,
    records: list[Any],
    names: list[str],
    grids: Grids,
    state: DbnState,
    *,
    last: bool,
) -> tuple[Decoded, list[Any]]:
    """Return the events of the whole groups among records, and the records of a group that is not whole yet."""
    if not records:
        return Decoded(empty_events(0), ignored=_take_ignored(state)), []
    raw = np.frombuffer(b"".join(bytes(record)[: _SIZES[schema]] for record in records), _DTYPES[schema])
    slot = np.array([state.slots.get(int(number), -1) for number in raw["instrument_id"]], np.int64)
    end = len(raw) if last else fold.whole_groups(raw["flags"])
    before = state.arrays.counts.copy()
    columns = {
        "ts": _times(raw["ts_event"]),
        "recv": _times(raw["ts_recv"]),
        "price": raw["price"].astype(np.int64),
        "size": raw["size"].astype(np.int64),
        "order": raw["order_id"].astype(np.int64) if schema == "mbo" else np.zeros(len(raw), np.int64),
        "flags": raw["flags"].astype(np.int64),
        "action": raw["action"].view(np.uint8).astype(np.int64),
        "side": raw["side"].view(np.uint8).astype(np.int64),
        "sequence": raw["sequence"].astype(np.int64),
    }
    depth = np.zeros((len(raw), 2, max(levels, 1), 2), np.int64)
    if levels:
        shown = raw["levels"].reshape(len(raw), levels)
        for side, letter in enumerate(("bid", "ask")):
            depth[:, side, :, 0], depth[:, side, :, 1] = shown[f"{letter}_px"], shown[f"{letter}_sz"]
    parts: list[EventArray] = []
    gaps: list[Gap] = []
    first, rows = 0, 4096 + (3 + 4 * levels) * len(raw)
    while True:
        out, holes, used = empty_events(rows), np.zeros((len(raw) + 1, 4), np.int64), np.zeros(2, np.int64)
        status, first, problem = fold.fold_records(
            columns["ts"], columns["recv"], columns["price"], columns["size"], columns["order"], columns["flags"],
            columns["action"], columns["side"], columns["sequence"], slot, depth, levels, first, end, grids.price, grids.size,
            state.arrays, out, holes, used,
        )  # fmt: skip
        parts.append(out[: used[0]])
        gaps += [Gap(names[s], *rest) for s, *rest in holes[: used[1]].tolist()]
        if status == fold.NEED_GROW:
            state.arrays = state.arrays._replace(table=grown(state.arrays.table))
        elif status == fold.DONE:
            break
        elif status == fold.REFUSED:
            raise SourceError(path, f"record at {columns['ts'][first]} ns: {fold.PROBLEMS[problem]}")
    events = np.concatenate(parts)
    if names:
        events["instrument_id"] = grids.instrument_id[events["instrument_id"]]
    if schema == "mbo":
        events = with_calls(events, state.calls)
    counted = state.arrays.counts - before
    for k, name in fold.COUNTED.items():
        if counted[k]:
            state.ignored[name] = state.ignored.get(name, 0) + int(counted[k])
    return Decoded(events, tuple(gaps), ignored=_take_ignored(state)), records[end:]


def _take_ignored(state: DbnState) -> dict[str, int]:
    found, state.ignored = state.ignored, {}
    return found


def _times(values: npt.NDArray[np.uint64]) -> Int64:
    return np.where(values == NO_TIME, 0, values).astype(np.int64)


_HEAD: Final = [
    ("length", "u1"),
    ("rtype", "u1"),
    ("publisher_id", "<u2"),
    ("instrument_id", "<u4"),
    ("ts_event", "<u8"),
]
_TRADE: Final = [
    *_HEAD, ("price", "<i8"), ("size", "<u4"), ("action", "S1"), ("side", "S1"), ("flags", "u1"), ("depth", "u1"),
    ("ts_recv", "<u8"), ("ts_in_delta", "<i4"), ("sequence", "<u4"),
]  # fmt: skip
_LEVEL: Final = np.dtype(
    [("bid_px", "<i8"), ("ask_px", "<i8"), ("bid_sz", "<u4"), ("ask_sz", "<u4"), ("bid_ct", "<u4"), ("ask_ct", "<u4")]
)
_DTYPES: Final = {
    "mbo": np.dtype(
        [
            *_HEAD, ("order_id", "<u8"), ("price", "<i8"), ("size", "<u4"), ("flags", "u1"), ("channel_id", "u1"),
            ("action", "S1"), ("side", "S1"), ("ts_recv", "<u8"), ("ts_in_delta", "<i4"), ("sequence", "<u4"),
        ]
    ),
    "trades": np.dtype(_TRADE),
    "tbbo": np.dtype([*_TRADE, ("levels", _LEVEL, (1,))]),
    "mbp-1": np.dtype([*_TRADE, ("levels", _LEVEL, (1,))]),
    "mbp-10": np.dtype([*_TRADE, ("levels", _LEVEL, (10,))]),
}  # fmt: skip
"""Records as the vendor's library lays them out in memory; tested against its own descriptions."""
_SIZES: Final = {schema: dtype.itemsize for schema, dtype in _DTYPES.items()}


def day_of(path: Path) -> dt.date | None:
    """Return the date in a file's name (``…-20231225.mbo.dbn.zst``); None where it has none."""
    for part in path.name.replace(".", "-").split("-"):
        if len(part) == 8 and part.isdigit():
            return dt.date(int(part[:4]), int(part[4:6]), int(part[6:]))
    return None
