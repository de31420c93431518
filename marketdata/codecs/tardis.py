"""Tardis.dev's daily CSV files as events, with the receive time that they recorded.

======================== ===========================================================================================
``incremental_book_L2``  LEVEL; rows of one symbol and receive time are one group; a snapshot is CLEAR and flagged rows, rows
                         before the first snapshot are counted
``book_snapshot_N``      LEVEL where a row differs from the row before; the first row is a snapshot
``trades``               TRADE; ``side`` is the aggressor's, so the resting one is the other
``quotes``               QUOTE, both sides; an empty side is a size of 0
======================== ===========================================================================================

Times are microseconds. A file may hold several symbols (Tardis's grouped symbols); those not asked for are counted. There are no
venue numbers in these files: ``sequence`` counts groups.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from numba import njit

from marketdata.codecs.exact import grids_of
from marketdata.codecs.tables import SourceError
from marketdata.codecs.text_columns import exact_column, iter_blocks, read_text_table, whole_column
from marketdata.events import (
    ASK,
    BID,
    CLEAR,
    F_LAST,
    F_SNAPSHOT,
    LEVEL,
    NONE,
    QUOTE,
    TRADE,
    EventArray,
    empty_events,
)
from marketdata.frames import Decoded
from marketdata.instruments import Instrument

Int64 = npt.NDArray[np.int64]

HEAD: Final = ("exchange", "symbol", "timestamp", "local_timestamp")
L2: Final = (*HEAD, "is_snapshot", "side", "price", "amount")
TRADES: Final = (*HEAD, "id", "side", "price", "amount")
QUOTES: Final = (*HEAD, "ask_amount", "ask_price", "bid_price", "bid_amount")
LEVEL_NAME: Final = re.compile(r"(asks|bids)\[(\d+)\]\.(price|amount)$")
NS_PER_US: Final = 1_000
BLOCK: Final = 1 << 24


@dataclass
class _State:
    """What is known between blocks."""

    shown: Int64  # (slot, side, level, price | lots): the row before of book_snapshot files
    known: Int64  # by slot: 0 nothing, 1 in a snapshot, 2 after it
    group: Int64 = field(default_factory=lambda: np.zeros(1, np.int64))


def read_tardis(path: Path, instruments: Mapping[str, Instrument], *, block: int = BLOCK) -> Iterator[Decoded]:
    """Yield the events of a file (plain or gzip), whole groups at a time.

    Parameters
    ----------
    instruments : mapping of str to Instrument
        By the symbol in the file.
    block : int
        Bytes read at once.

    Raises
    ------
    SourceError
        If the header is of none of the kinds above, or a cell is malformed or off the grid; it names row and field.
    """
    state: _State | None = None
    held: pl.DataFrame | None = None
    row = 1
    for header, data in iter_blocks(path, block):
        columns = header.split(",")
        levels = _levels(path, columns)
        if state is None:
            shape = (len(instruments), 2, max(levels, 1), 2)
            state = _State(np.zeros(shape, np.int64), np.zeros(len(instruments), np.int64))
        table = read_text_table(data, path, columns)
        if held is not None:
            table = pl.concat([held, table])
        last = table["local_timestamp"][-1], table["symbol"][-1]
        same = ((table["local_timestamp"] == last[0]) & (table["symbol"] == last[1])).to_numpy()
        cut = len(same) - int(np.argmin(same[::-1])) if not same.all() else 0
        held = table[cut:]  # its group may go on in the next block
        if cut:
            yield _decode(path, table[:cut], columns, levels, instruments, state, row)
            row += cut
    if held is None or state is None:
        raise SourceError(path, "the file has no rows")
    yield _decode(path, held, columns, levels, instruments, state, row)


def _levels(path: Path, columns: list[str]) -> int:
    """Return how many levels a row of the file shows; 0 where it is no snapshot file."""
    if tuple(columns) in (L2, TRADES, QUOTES):
        return 0
    matches = [LEVEL_NAME.match(name) for name in columns[len(HEAD) :]]
    if tuple(columns[: len(HEAD)]) != HEAD or not matches or None in matches:
        raise SourceError(
            path, f"the header is {','.join(columns)[:200]}: no incremental_book_L2, snapshot, trades or quotes"
        )
    return len(matches) // 4


def _decode(
    path: Path,
    table: pl.DataFrame,
    columns: list[str],
    levels: int,
    instruments: Mapping[str, Instrument],
    state: _State,
    row: int,
) -> Decoded:
    symbols = list(instruments)
    slots = table["symbol"].replace_strict(
        {name: k for k, name in enumerate(symbols)}, default=-1, return_dtype=pl.Int64
    )
    wanted = (slots >= 0).to_numpy()
    ignored = {"other symbol": int((~wanted).sum())} if not wanted.all() else {}
    ts = whole_column(table, "timestamp", path, row) * NS_PER_US
    recv = whole_column(table, "local_timestamp", path, row) * NS_PER_US
    grids = grids_of(list(instruments.values()))
    slot = slots.to_numpy().astype(np.int64)

    def exact(name: str, which: Int64, *, empty: bool = False) -> Int64:
        out = np.zeros(table.height, np.int64)
        for k in np.unique(slot[wanted]).tolist():
            mine = np.flatnonzero(slot == k)  # each symbol on its own grid
            out[mine] = exact_column(table[mine], name, which[k], path, mine + row, empty=empty)
        return out

    out = empty_events((4 * levels + 4) * table.height + 8)
    if levels:
        depth = np.zeros((table.height, 2, levels, 2), np.int64)
        for name in columns[len(HEAD) :]:
            match = LEVEL_NAME.match(name)
            assert match is not None
            s, what = int(match[1] == "asks"), int(match[3] == "amount")
            depth[:, s, int(match[2]), what] = exact(name, grids.size if what else grids.price, empty=True)
        count = _snapshots(ts, recv, slot, depth, state.shown, state.known, state.group, out)
    elif tuple(columns) == L2:
        snapshot = _choice(path, table, "is_snapshot", {"true": 1, "false": 0}, row)
        side = _choice(path, table, "side", {"bid": BID, "ask": ASK}, row)
        price, lots = exact("price", grids.price), exact("amount", grids.size)
        count, early = _changes(ts, recv, slot, snapshot, side, price, lots, state.known, state.group, out)
        if early:
            ignored["row before the first snapshot"] = early
    else:
        if tuple(columns) == TRADES:
            side = _choice(path, table, "side", {"buy": ASK, "sell": BID, "unknown": NONE}, row)
            values = [side, exact("price", grids.price), exact("amount", grids.size)]
            count = _trades(ts, recv, slot, *values, state.group, out)
        else:
            prices = [exact(name, grids.price, empty=True) for name in ("bid_price", "ask_price")]
            sizes = [exact(name, grids.size, empty=True) for name in ("bid_amount", "ask_amount")]
            count = _quotes(ts, recv, slot, prices[0], sizes[0], prices[1], sizes[1], state.group, out)
    events = out[:count].copy()
    if symbols:
        events["instrument_id"] = grids.instrument_id[events["instrument_id"]]
    return Decoded(events, ignored=ignored)


def _choice(path: Path, table: pl.DataFrame, name: str, choices: dict[str, int], row: int) -> Int64:
    found = table[name].replace_strict(choices, default=None, return_dtype=pl.Int64)
    if found.null_count():
        place = int(found.is_null().arg_true()[0])
        raise SourceError(path, f"{table[name][place]!r} is none of {', '.join(choices)}", row=row + place, field=name)
    return found.to_numpy()


@njit(cache=True)
def _put(
    out: EventArray, n: int, ts: int, recv: int, group: int, action: int, side: int, price: int, lots: int, slot: int, flags: int
) -> int:  # fmt: skip
    out[n].ts_event = ts
    out[n].ts_recv = recv
    out[n].sequence = group
    out[n].action = action
    out[n].side = side
    out[n].price_units = price
    out[n].size_lots = lots
    out[n].instrument_id = slot  # the caller turns slots into numbers
    out[n].flags = flags
    return n + 1


@njit(cache=True)
def _changes(
    ts: Int64, recv: Int64, slot: Int64, snapshot: Int64, side: Int64, price: Int64, lots: Int64, known: Int64, group: Int64,
    out: EventArray,
) -> tuple[int, int]:  # fmt: skip
    n = 0
    early = 0
    before = -1
    for k in range(len(ts)):
        s = slot[k]
        if s < 0:
            continue
        if known[s] == 0 and snapshot[k] == 0:
            early += 1
            continue
        begins = snapshot[k] == 1 and known[s] != 1
        new = before < 0 or slot[before] != s or recv[before] != recv[k] or snapshot[before] != snapshot[k]
        if new:
            if n > 0:
                out[n - 1].flags |= F_LAST
            group[0] += 1
        flags = F_SNAPSHOT if snapshot[k] == 1 else 0
        if begins:
            n = _put(out, n, ts[k], recv[k], group[0], CLEAR, NONE, 0, 0, s, flags)
        known[s] = 1 if snapshot[k] == 1 else 2
        n = _put(out, n, ts[k], recv[k], group[0], LEVEL, side[k], price[k], lots[k], s, flags)
        before = k
    if n > 0:
        out[n - 1].flags |= F_LAST
    return n, early


@njit(cache=True)
def _snapshots(
    ts: Int64, recv: Int64, slot: Int64, depth: Int64, shown: Int64, known: Int64, group: Int64, out: EventArray
) -> int:
    n = 0
    levels = depth.shape[2]
    for k in range(len(ts)):
        s = slot[k]
        if s < 0:
            continue
        group[0] += 1
        begin = n
        flags = 0
        if known[s] == 0:
            known[s] = 2
            flags = F_SNAPSHOT
            n = _put(out, n, ts[k], recv[k], group[0], CLEAR, NONE, 0, 0, s, flags)
        for h in range(2):
            side = BID if h == 0 else ASK
            for j in range(levels):
                price = shown[s, h, j, 0]
                if shown[s, h, j, 1] == 0:
                    continue
                gone = True
                for i in range(levels):
                    if depth[k, h, i, 1] > 0 and depth[k, h, i, 0] == price:
                        gone = False
                if gone:
                    n = _put(out, n, ts[k], recv[k], group[0], LEVEL, side, price, 0, s, flags)
            for j in range(levels):
                price, lots = depth[k, h, j, 0], depth[k, h, j, 1]
                if lots == 0:
                    continue
                same = False
                for i in range(levels):
                    if shown[s, h, i, 0] == price and shown[s, h, i, 1] == lots:
                        same = True
                if not same:
                    n = _put(out, n, ts[k], recv[k], group[0], LEVEL, side, price, lots, s, flags)
            for j in range(levels):
                shown[s, h, j, 0] = depth[k, h, j, 0]
                shown[s, h, j, 1] = depth[k, h, j, 1]
        if n > begin:
            out[n - 1].flags |= F_LAST
    return n


@njit(cache=True)
def _trades(
    ts: Int64, recv: Int64, slot: Int64, side: Int64, price: Int64, lots: Int64, group: Int64, out: EventArray
) -> int:
    n = 0
    for k in range(len(ts)):
        if slot[k] >= 0:
            group[0] += 1
            n = _put(out, n, ts[k], recv[k], group[0], TRADE, side[k], price[k], lots[k], slot[k], F_LAST)
    return n


@njit(cache=True)
def _quotes(
    ts: Int64, recv: Int64, slot: Int64, bid: Int64, bid_lots: Int64, ask: Int64, ask_lots: Int64, group: Int64, out: EventArray
) -> int:  # fmt: skip
    n = 0
    for k in range(len(ts)):
        if slot[k] >= 0:
            group[0] += 1
            n = _put(out, n, ts[k], recv[k], group[0], QUOTE, BID, bid[k], bid_lots[k], slot[k], 0)
            n = _put(out, n, ts[k], recv[k], group[0], QUOTE, ASK, ask[k], ask_lots[k], slot[k], F_LAST)
    return n
