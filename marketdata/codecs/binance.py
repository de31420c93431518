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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from marketdata.codecs.binance_books import BinanceBooks, BinanceState, Step, snapshot_symbol
from marketdata.codecs.binance_json import AGGREGATE, DEPTH, HEAD, OUTER, SNAPSHOT, TRADE
from marketdata.codecs.binance_scan import scan_frames
from marketdata.codecs.binance_state import BYTES_PER_ROW, COUNTS, BinanceSync
from marketdata.codecs.json_scan import SymbolTable, padded, symbol_table
from marketdata.codecs.wire import BadFrame, PriceSize, as_events, decode, joined_events
from marketdata.events import EVENT_DTYPE
from marketdata.frames import QUARANTINE, RAISE, Decoded, Endpoint, FrameBatch, FrameError, Rejected
from marketdata.instruments import Instrument

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
        self._table: SymbolTable = symbol_table(self._instruments, self._quotes)
        self._books = BinanceBooks(market.chained, self._instruments, self._table)

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
        found = Step(batch)
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
            levels: list[PriceSize]
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
                    elif head.e in ("trade", "aggTrade"):
                        trade = decode(TRADE, payload) if head.e == "trade" else decode(AGGREGATE, payload)
                        levels = [(trade.p, trade.q)]
                    else:
                        continue
            except BadFrame:
                continue
            for price, size in levels:
                yield symbol, price, size

    def _complete(self, state: BinanceState, found: Step, k: int) -> None:
        """Read frame ``k`` with the complete parser; what it does not understand is refused with the reason."""
        batch = found.batch
        try:
            rows = self._books.read(state, found, batch.frame(k), int(batch.ts_recv[k]), batch.streams[batch.stream[k]])
        except BadFrame as error:
            if self._policy == RAISE:
                stream = batch.streams[batch.stream[k]]
                raise FrameError(self.venue, stream, k, error.offset, error.reason) from error
            found.rejected.append(Rejected(k, error.offset, error.reason))
            return
        if rows:
            found.parts.append(as_events(rows))
