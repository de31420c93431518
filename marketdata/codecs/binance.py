"""Binance spot, USD-M and COIN-M futures: depth, trades and best quotes.

Sequence rule. Spot: an update carries the ids ``U`` to ``u`` and follows if ``U`` is at most the last ``u`` + 1. Futures: it
names the update before, ``pu``, and follows if ``pu`` is at most the last ``u``. An update whose ``u`` is not beyond the last
one was seen before: it is skipped and counted. Anything else is a gap: CLEAR, :class:`~marketdata.frames.Gap`, and the book is
unknown until a snapshot comes. (Binance asks for equality; sizes are absolute, so an update that begins earlier does no harm.)

Snapshot. ``GET …/depth`` comes in as a frame whose stream is its address. Updates that come while the book is unknown are
kept; those up to the snapshot's ``lastUpdateId`` are dropped, the rest must follow it by the rule above, else the snapshot is
too old, is counted, and another one is wanted. What was kept is given out behind the snapshot with the *snapshot's* receive
time: only then was it known to belong to the book. A snapshot older than a known book is counted and changes nothing. One
without an exchange time (spot) carries that of the last update it covers, flagged ``F_TS_CARRIED``.

Trades. ``m`` says that the buyer was the resting side. The streams ``trade`` and ``aggTrade`` tell the same trades: the first
one seen of a symbol counts, frames of the other are counted as ``other_trade_stream``. Futures trades outside the book (``X``
is not ``MARKET``: insurance fund, auto-deleveraging) are counted as ``off_book_trade``.

Best quotes (``bookTicker``) are counted, or become QUOTE rows of the instruments given as ``best_quotes``.

No checksum exists. Partial depth streams (``@depth20``) carry no sequence and are refused.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

import numpy as np

from marketdata.codecs.binance_json import (
    BEST,
    DEPTH,
    HEAD,
    OUTER,
    SNAPSHOT,
    STATISTICS,
    TRADES,
    AggregateJson,
    BestJson,
    DepthJson,
    TradeJson,
)
from marketdata.codecs.binance_scan import (
    BYTES_PER_ROW,
    COUNTS,
    TRADES_AGGREGATED,
    TRADES_BY_ID,
    BinanceSync,
    scan_frames,
    stamp_to_ns,
)
from marketdata.codecs.decimals import step_of
from marketdata.codecs.json_scan import SymbolTable, padded, symbol_table
from marketdata.codecs.wire import (
    BadFrame,
    PriceSize,
    Row,
    as_events,
    clear_row,
    decode,
    joined_events,
    level_rows,
    price_and_lots,
    snapshot_rows,
)
from marketdata.events import ASK, BID, EVENT_DTYPE, F_LAST, F_TS_CARRIED, QUOTE, TRADE, EventArray
from marketdata.frames import QUARANTINE, RAISE, Decoded, Endpoint, FrameBatch, FrameError, Gap, Rejected
from marketdata.instruments import Instrument

MAX_PENDING: Final = 10_000
"""Updates kept for one symbol while its book is unknown; beyond, the oldest go, counted: a snapshot will be newer than they."""

SYMBOLS_PER_CONNECTION: Final = 100


@dataclass(frozen=True, slots=True)
class Market:
    """What differs between Binance's three markets.

    Attributes
    ----------
    venue : str
        Name in the catalogue.
    sockets : tuple of (address, stream kinds)
        Connections that bring depth and trades.
    rest : str
        Address of the book snapshot.
    chained : bool
        Whether a depth update names the one before it.
    """

    venue: str
    sockets: tuple[tuple[str, tuple[str, ...]], ...]
    rest: str
    chained: bool


SPOT: Final = Market(
    "binance_spot",
    (("wss://stream.binance.com:9443/stream", ("depth@100ms", "trade")),),
    "https://api.binance.com/api/v3/depth",
    False,
)
USDM: Final = Market(
    "binance_usdm",
    (
        ("wss://fstream.binance.com/public/stream", ("depth@100ms",)),
        ("wss://fstream.binance.com/market/stream", ("aggTrade",)),
    ),
    "https://fapi.binance.com/fapi/v1/depth",
    True,
)
COINM: Final = Market(
    "binance_coinm",
    (("wss://dstream.binance.com/stream", ("depth@100ms", "aggTrade")),),
    "https://dapi.binance.com/dapi/v1/depth",
    True,
)


class _Depth(NamedTuple):
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
    pending: dict[int, list[_Depth]] = field(default_factory=dict)


@dataclass(slots=True)
class _Step:
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


class BinanceCodec:
    """The codec of one of Binance's markets; see the module.

    Parameters
    ----------
    market : Market
        :data:`SPOT`, :data:`USDM` or :data:`COINM`.
    instruments : mapping of str to Instrument
        By Binance's symbol, in capitals (``BTCUSDT``). Frames of other symbols are counted as ``other_symbol``.
    policy : str
        ``raise`` or ``quarantine``.
    best_quotes : mapping of str to Instrument, optional
        Instruments that best quotes go to, on the same grid as the book's; default: best quotes are only counted.
    complete_only : bool
        Read every frame with the complete parser: slow, the same result; for tests.
    """

    def __init__(
        self,
        market: Market,
        instruments: Mapping[str, Instrument],
        policy: str = RAISE,
        best_quotes: Mapping[str, Instrument] | None = None,
        *,
        complete_only: bool = False,
    ) -> None:
        if policy not in (RAISE, QUARANTINE):
            raise ValueError(f"the policy is {RAISE!r} or {QUARANTINE!r}, not {policy!r}")
        self._market = market
        self._instruments = dict(instruments)
        self._policy = policy
        self._quotes = dict(best_quotes or {})
        self._complete_only = complete_only
        self._symbols = tuple(self._instruments)
        self._number = {symbol: k for k, symbol in enumerate(self._symbols)}
        self._steps = [(step_of(i.price_decimals), step_of(i.lot_size)) for i in self._instruments.values()]
        self._table: SymbolTable = symbol_table(self._instruments, self._quotes)

    @property
    def venue(self) -> str:
        """Return the market's name in the catalogue."""
        return self._market.venue

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """Return the instruments by Binance's symbol."""
        return self._instruments

    def init(self) -> BinanceState:
        """Return the state before the first frame: no book known."""
        n = len(self._symbols)
        return BinanceState(
            BinanceSync(
                np.zeros(n, np.int8), np.full(n, -1), np.full(n, -1), np.zeros(n, np.int8), np.zeros(1, np.int64)
            )
        )

    def endpoints(self, symbols: Sequence[str]) -> tuple[Endpoint, ...]:
        """Return combined streams of depth every 100 ms and trades."""
        parts = [symbols[k : k + SYMBOLS_PER_CONNECTION] for k in range(0, len(symbols), SYMBOLS_PER_CONNECTION)]
        return tuple(
            Endpoint(
                f"{url}?streams=" + "/".join(f"{s.lower()}@{kind}" for s in part for kind in kinds), silence_s=60.0
            )
            for url, kinds in self._market.sockets
            for part in parts
        )

    def snapshot_url(self, symbol: str) -> str:
        """Return the address of a book of 1,000 levels a side."""
        return f"{self._market.rest}?symbol={symbol}&limit=1000"

    def sequences(self, state: BinanceState) -> dict[str, tuple[int, ...]]:
        """Return (last update, last trade, trade stream) of every symbol whose book is known."""
        sync = state.sync
        return {
            symbol: (int(sync.last[k]), int(sync.last_trade[k]), int(sync.trades[k]))
            for k, symbol in enumerate(self._symbols)
            if sync.known[k]
        }

    def resume(self, sequences: Mapping[str, Sequence[int]]) -> BinanceState:
        """Return a state in which these symbols' books are known; see :class:`~marketdata.frames.ResumableCodec`."""
        state = self.init()
        for symbol, numbers in sequences.items():
            if symbol not in self._number or len(numbers) != 3:
                raise ValueError(f"{self.venue}: cannot resume {symbol!r} from {list(numbers)}")
            k = self._number[symbol]
            state.sync.known[k] = 1
            state.sync.last[k], state.sync.last_trade[k], state.sync.trades[k] = numbers
        return state

    def step(self, state: BinanceState, batch: FrameBatch) -> tuple[BinanceState, Decoded]:
        """Read a batch; see :class:`~marketdata.frames.FrameCodec`."""
        frames = len(batch)
        found = _Step(batch)
        sync = state.sync
        k = 0
        if self._complete_only:
            while k < frames:
                self._complete(state, found, k)
                k += 1
        else:
            data = padded(batch.data)
            out = np.zeros(len(batch.data) // BYTES_PER_ROW + 8, EVENT_DTYPE)
            counts = np.zeros(len(COUNTS), np.int64)
            row = 0
            while k < frames:
                begin = row
                k, row = scan_frames(
                    data, batch.starts, k, batch.ts_recv, self._table, sync, self._market.chained, counts, out, row
                )
                if row > begin:
                    found.parts.append(out[begin:row])
                if k < frames:
                    self._complete(state, found, k)
                    k += 1
            for reason, count in zip(COUNTS, counts.tolist(), strict=True):
                if count:
                    found.ignored[reason] += count
        parts = found.parts
        events = parts[0] if len(parts) == 1 else joined_events(parts)
        wants = () if sync.known.all() else tuple(self._symbols[k] for k in np.flatnonzero(sync.known == 0))
        return state, Decoded(events, tuple(found.gaps), tuple(found.rejected), wants, dict(found.ignored))

    def iter_numbers(self, batch: FrameBatch) -> Iterator[tuple[str, str, str]]:
        """Yield (symbol, price, size) as written; see :class:`~marketdata.codecs.catalog.VenueCodec`."""
        for k in range(len(batch)):
            raw = batch.frame(k)
            try:
                outer = decode(OUTER, raw)
                payload = bytes(outer.data) or raw
                if outer.lastUpdateId is not None and not bytes(outer.data):
                    symbol = snapshot_symbol(batch.streams[batch.stream[k]])
                    snapshot = decode(SNAPSHOT, raw)
                    levels = [*snapshot.bids, *snapshot.asks]
                else:
                    head = decode(HEAD, payload)
                    symbol = head.s or ""
                    if head.e == "depthUpdate":
                        depth = decode(DEPTH, payload)
                        levels = [*depth.b, *depth.a]
                    elif head.e in TRADES:
                        trade = decode(TRADES[head.e], payload)
                        levels = [(trade.p, trade.q)]
                    else:
                        continue
            except BadFrame:
                continue
            for price, size in levels:
                yield symbol, price, size

    def _complete(self, state: BinanceState, found: _Step, k: int) -> None:
        """Read frame ``k`` with the complete parser; what it does not understand is refused with the reason."""
        batch = found.batch
        try:
            rows = self._read(state, found, batch.frame(k), int(batch.ts_recv[k]), batch.streams[batch.stream[k]])
        except BadFrame as error:
            if self._policy == RAISE:
                stream = batch.streams[batch.stream[k]]
                raise FrameError(self.venue, stream, k, error.offset, error.reason) from error
            found.rejected.append(Rejected(k, error.offset, error.reason))
            return
        if rows:
            found.parts.append(as_events(rows))

    def _read(self, state: BinanceState, found: _Step, raw: bytes, ts_recv: int, stream: str) -> list[Row]:
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
        return self._trade(state, found, decode(TRADES[kind], payload), kind, number, ts_recv)

    def _on_grid(self, number: int, levels: Sequence[PriceSize]) -> list[tuple[int, int]]:
        instrument, steps = self._instruments[self._symbols[number]], self._steps[number]
        return [price_and_lots(price, size, instrument, steps) for price, size in levels]

    def _depth(self, state: BinanceState, found: _Step, payload: DepthJson, number: int, ts_recv: int) -> list[Row]:
        if self._market.chained and payload.pu is None:
            raise BadFrame("a futures depth update without pu")
        depth = _Depth(
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

    def _due(self, depth: _Depth, last: int) -> tuple[int, int] | None:
        """Return None if the update follows ``last``, else the number that was due and the one that came."""
        if self._market.chained:
            return None if depth.previous <= last else (last, depth.previous)
        return None if depth.first <= last + 1 else (last + 1, depth.first)

    def _apply(self, state: BinanceState, found: _Step, number: int, depth: _Depth, ts_recv: int) -> list[Row]:
        state.sync.last[number] = depth.last
        instrument = int(self._table.instrument_id[number])
        rows = level_rows(instrument, depth.ts_event, ts_recv, depth.last, depth.bids, depth.asks)
        if not rows:
            found.ignored["empty_depth"] += 1
        return rows

    def _snapshot(self, state: BinanceState, found: _Step, raw: bytes, ts_recv: int, stream: str) -> list[Row]:
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
            ts_event = covered[-1] if covered else int(sync.clock[0])
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
        found: _Step,
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

    def _best(self, state: BinanceState, found: _Step, payload: BestJson, number: int, ts_recv: int) -> list[Row]:
        levels = [(payload.b, payload.B), (payload.a, payload.A)]
        (bid, bid_lots), (ask, ask_lots) = self._on_grid(number, levels)
        stamp = payload.T or payload.E
        clock, flags = state.sync.clock, 0
        if stamp:
            ts_event = stamp_to_ns(stamp)
            clock[0] = max(int(clock[0]), ts_event)
        else:
            ts_event, flags = int(clock[0]), F_TS_CARRIED
        instrument = int(self._table.quote_id[number])
        if instrument < 0:
            found.ignored["best_quote"] += 1
            return []
        head = (ts_event, ts_recv)
        return [
            (*head, bid, bid_lots, 0, payload.u, instrument, QUOTE, BID, flags, 0),
            (*head, ask, ask_lots, 0, payload.u, instrument, QUOTE, ASK, flags | F_LAST, 0),
        ]
