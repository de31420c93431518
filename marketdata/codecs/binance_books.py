"""Binance's frames read completely: any key order and spelling, snapshots, gaps, updates kept for a snapshot.

The rules are those of :mod:`marketdata.codecs.binance`; :mod:`marketdata.codecs.binance_scan` reads the frequent frames by the
same rules in compiled code, and tests hold the two to the same result.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

from marketdata.codecs.binance_json import (
    AGGREGATE,
    BEST,
    DEPTH,
    HEAD,
    OUTER,
    SNAPSHOT,
    STATISTICS,
    AggregateJson,
    BestJson,
    DepthJson,
    TradeJson,
)
from marketdata.codecs.binance_json import (
    TRADE as TRADE_JSON,
)
from marketdata.codecs.binance_state import TRADES_AGGREGATED, TRADES_BY_ID, BinanceSync, stamp_to_ns
from marketdata.codecs.decimals import step_of
from marketdata.codecs.json_scan import SymbolTable
from marketdata.codecs.wire import (
    BadFrame,
    PriceSize,
    Row,
    clear_row,
    decode,
    level_rows,
    price_and_lots,
    snapshot_rows,
)
from marketdata.events import ASK, BID, F_LAST, F_TS_CARRIED, QUOTE, TRADE, EventArray
from marketdata.frames import FrameBatch, Gap, Rejected
from marketdata.instruments import Instrument

MAX_PENDING: Final = 10_000
"""Updates kept for one symbol while its book is unknown; beyond, the oldest go, counted: a snapshot will be newer."""


class Depth(NamedTuple):
    """A depth update read whole: exchange time, ids, levels on the grid."""

    ts_event: int
    first: int
    last: int
    previous: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]


@dataclass(slots=True)
class BinanceState:
    """What the fold remembers: sequence numbers, and the updates kept by symbol number until their snapshot comes."""

    sync: BinanceSync
    pending: dict[int, list[Depth]] = field(default_factory=dict)


@dataclass(slots=True)
class Step:
    """What one call of ``step`` has found so far."""

    batch: FrameBatch
    parts: list[EventArray] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)


def snapshot_symbol(stream: str) -> str:
    """Return the symbol of a snapshot, which only its REST address names.

    Raises
    ------
    BadFrame
        If the address names none.
    """
    symbol = parse_qs(urlsplit(stream).query).get("symbol", [""])[0]
    if not symbol:
        raise BadFrame(f"a snapshot's stream is its REST address with the symbol in it, not {stream!r}")
    return symbol


class BinanceBooks:
    """The complete parser of one market; see the module."""

    def __init__(self, chained: bool, instruments: Mapping[str, Instrument], table: SymbolTable) -> None:
        self._chained = chained
        self._symbols = tuple(instruments)
        self._instruments = dict(instruments)
        self._number = {symbol: k for k, symbol in enumerate(self._symbols)}
        self._steps = [(step_of(i.price_decimals), step_of(i.lot_size)) for i in self._instruments.values()]
        self._table = table

    def read(self, state: BinanceState, found: Step, raw: bytes, ts_recv: int, stream: str) -> list[Row]:
        """Return the rows of one frame.

        Raises
        ------
        BadFrame
            If it cannot be read; then nothing has changed.
        """
        if not raw:
            found.ignored["opened"] += 1
            return []
        outer = decode(OUTER, raw)
        wrapped = len(bytes(outer.data)) > 0
        if len(bytes(outer.error)) or outer.code is not None:
            raise BadFrame(f"the venue answers with an error: {raw[:200].decode(errors='replace')}")
        if not wrapped and outer.lastUpdateId is not None:
            return self._snapshot(state, found, raw, ts_recv, stream)
        if not wrapped and outer.id is not None:
            found.ignored["answer"] += 1
            return []
        payload = bytes(outer.data) if wrapped else raw
        head = decode(HEAD, payload)
        kind = "bookTicker" if head.e is None and head.u is not None else head.e
        if kind in STATISTICS:
            found.ignored[str(kind)] += 1
            return []
        if kind not in ("depthUpdate", "trade", "aggTrade", "bookTicker"):
            raise BadFrame(
                f"unknown kind of frame {kind!r}" if kind else "neither an event, nor an answer, nor a snapshot"
            )
        if head.s is None:
            raise BadFrame("no symbol (s)")
        number = self._number.get(head.s)
        if number is None:
            found.ignored["other_symbol"] += 1
            return []
        if kind == "depthUpdate":
            return self._depth(state, found, decode(DEPTH, payload), number, ts_recv)
        if kind == "bookTicker":
            return self._best(state, found, decode(BEST, payload), number, ts_recv)
        trade = decode(TRADE_JSON, payload) if kind == "trade" else decode(AGGREGATE, payload)
        return self._trade(state, found, trade, kind, number, ts_recv)

    def _on_grid(self, number: int, levels: Sequence[PriceSize]) -> list[tuple[int, int]]:
        instrument, steps = self._instruments[self._symbols[number]], self._steps[number]
        return [price_and_lots(price, size, instrument, steps) for price, size in levels]

    def _depth(self, state: BinanceState, found: Step, payload: DepthJson, number: int, ts_recv: int) -> list[Row]:
        if self._chained and payload.pu is None:
            raise BadFrame("a futures depth update without pu")
        depth = Depth(
            stamp_to_ns(payload.T if payload.T is not None else payload.E),
            payload.U,
            payload.u,
            payload.pu if payload.pu is not None else -1,
            self._on_grid(number, payload.b),
            self._on_grid(number, payload.a),
        )
        sync = state.sync
        if not sync.known[number]:
            sync.clock[0] = max(int(sync.clock[0]), depth.ts_event)
            kept = state.pending.setdefault(number, [])
            kept.append(depth)
            if len(kept) > MAX_PENDING:
                del kept[0]
                found.ignored["pending_overflow"] += 1
            return []
        if depth.last <= sync.last[number]:
            found.ignored["old"] += 1
            return []
        sync.clock[0] = max(int(sync.clock[0]), depth.ts_event)
        due = self._due(depth, int(sync.last[number]))
        if due is None:
            return self._apply(state, found, number, depth, ts_recv)
        sync.known[number] = 0
        state.pending[number] = [depth]
        found.gaps.append(Gap(self._symbols[number], ts_recv, *due))
        instrument = int(self._table.instrument_id[number])
        return [clear_row(instrument, depth.ts_event, ts_recv, depth.last, F_LAST)]

    def _due(self, depth: Depth, last: int) -> tuple[int, int] | None:
        """Return None if the update follows ``last``, else the number that was due and the one that came."""
        if self._chained:
            return None if depth.previous <= last else (last, depth.previous)
        return None if depth.first <= last + 1 else (last + 1, depth.first)

    def _apply(self, state: BinanceState, found: Step, number: int, depth: Depth, ts_recv: int) -> list[Row]:
        state.sync.last[number] = depth.last
        instrument = int(self._table.instrument_id[number])
        rows = level_rows(instrument, depth.ts_event, ts_recv, depth.last, depth.bids, depth.asks)
        if not rows:
            found.ignored["empty_depth"] += 1
        return rows

    def _snapshot(self, state: BinanceState, found: Step, raw: bytes, ts_recv: int, stream: str) -> list[Row]:
        symbol = snapshot_symbol(stream)
        number = self._number.get(symbol)
        if number is None:
            found.ignored["other_symbol"] += 1
            return []
        snapshot = decode(SNAPSHOT, raw)
        bids, asks = self._on_grid(number, snapshot.bids), self._on_grid(number, snapshot.asks)
        if any(lots == 0 for _, lots in (*bids, *asks)):
            raise BadFrame("a snapshot with an empty level")
        sync, last = state.sync, snapshot.lastUpdateId
        if sync.known[number] and last < sync.last[number]:
            found.ignored["old_snapshot"] += 1
            return []
        kept = state.pending.get(number, [])
        ahead = [depth for depth in kept if depth.last > last]
        if ahead and self._due(ahead[0], last) is not None:
            found.ignored["stale_snapshot"] += 1
            return []
        flags = 0
        if snapshot.T is not None:
            ts_event = stamp_to_ns(snapshot.T)
            sync.clock[0] = max(int(sync.clock[0]), ts_event)
        else:
            covered = [depth.ts_event for depth in kept if depth.last <= last]
            ts_event = covered[-1] if covered else int(sync.clock[0]) or ts_recv
            flags = F_TS_CARRIED
        sync.known[number] = 1
        sync.last[number] = last
        state.pending.pop(number, None)
        instrument = int(self._table.instrument_id[number])
        rows = snapshot_rows(instrument, ts_event, ts_recv, last, bids, asks, flags)
        for at, depth in enumerate(ahead):
            if depth.last <= sync.last[number]:
                found.ignored["old"] += 1
                continue
            due = self._due(depth, int(sync.last[number]))
            if due is not None:  # a hole among the updates that were kept: this snapshot does not bridge it
                sync.known[number] = 0
                state.pending[number] = ahead[at:]
                found.gaps.append(Gap(symbol, ts_recv, *due))
                rows.append(clear_row(instrument, depth.ts_event, ts_recv, depth.last, F_LAST))
                break
            rows += self._apply(state, found, number, depth, ts_recv)
        return rows

    def _trade(
        self,
        state: BinanceState,
        found: Step,
        payload: TradeJson | AggregateJson,
        kind: str,
        number: int,
        ts_recv: int,
    ) -> list[Row]:
        [(units, lots)] = self._on_grid(number, [(payload.p, payload.q)])
        if payload.X != "MARKET":
            found.ignored["off_book_trade"] += 1
            return []
        if units == 0 or lots == 0:
            raise BadFrame(f"a {kind} with price {payload.p} and size {payload.q}")
        sync = state.sync
        stream = TRADES_BY_ID if kind == "trade" else TRADES_AGGREGATED
        if sync.trades[number] not in (0, stream):
            found.ignored["other_trade_stream"] += 1
            return []
        sync.trades[number] = stream
        ts_event = stamp_to_ns(payload.T)
        sync.clock[0] = max(int(sync.clock[0]), ts_event)
        if payload.id <= sync.last_trade[number]:
            found.ignored["old"] += 1
            return []
        sync.last_trade[number] = payload.id
        instrument, side = int(self._table.instrument_id[number]), BID if payload.m else ASK
        return [(ts_event, ts_recv, units, lots, 0, payload.id, instrument, TRADE, side, F_LAST, 0)]

    def _best(self, state: BinanceState, found: Step, payload: BestJson, number: int, ts_recv: int) -> list[Row]:
        levels = [(payload.b, payload.B), (payload.a, payload.A)]
        (bid, bid_lots), (ask, ask_lots) = self._on_grid(number, levels)
        stamp = payload.T or payload.E
        clock, flags = state.sync.clock, 0
        if stamp:
            ts_event = stamp_to_ns(stamp)
            clock[0] = max(int(clock[0]), ts_event)
        else:
            ts_event, flags = int(clock[0]) or ts_recv, F_TS_CARRIED
        instrument = int(self._table.quote_id[number])
        if instrument < 0:
            found.ignored["best_quote"] += 1
            return []
        head = (ts_event, ts_recv)
        return [
            (*head, bid, bid_lots, 0, payload.u, instrument, QUOTE, BID, flags, 0),
            (*head, ask, ask_lots, 0, payload.u, instrument, QUOTE, ASK, flags | F_LAST, 0),
        ]
