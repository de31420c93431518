"""Binance's frequent frames, read and sequenced in compiled code: depth updates that follow, trades, best quotes.

One pass over a batch's bytes writes event rows. Key order is free, but what a value needs must come before it (symbol and
times before levels, as Binance sends them). The loop stops at each frame that it leaves to the complete parser: an unexpected
key or spelling, a snapshot, an update of an unknown book, a gap, a number off the grid. It changes state only for frames it
has read whole.
"""

import numpy as np
from numba import njit

from marketdata.codecs.binance_rows import level_list, write_row
from marketdata.codecs.binance_state import (
    COUNT_BEST_QUOTE,
    COUNT_EMPTY_DEPTH,
    COUNT_OLD,
    COUNT_OTHER_TRADES,
    MAX_STAMP,
    BinanceSync,
    stamp_to_ns,
)
from marketdata.codecs.json_scan import (
    Bytes,
    Ints,
    SymbolTable,
    scan_decimal,
    scan_int,
    scan_literal,
    scan_string,
    scan_symbol,
)
from marketdata.events import ASK, BID, F_LAST, F_TS_CARRIED, QUOTE, TRADE, EventArray

_WRAPPER = np.frombuffer(b'{"stream":', np.uint8)
_DATA = np.frombuffer(b',"data":', np.uint8)
_DEPTH = np.frombuffer(b'"depthUpdate"', np.uint8)
_TRADE = np.frombuffer(b'"trade"', np.uint8)
_AGGREGATED = np.frombuffer(b'"aggTrade"', np.uint8)
_BEST = np.frombuffer(b'"bookTicker"', np.uint8)
_MARKET = np.frombuffer(b'"MARKET"', np.uint8)
_TRUE = np.frombuffer(b"true", np.uint8)
_FALSE = np.frombuffer(b"false", np.uint8)

_E, _TIME, _SYMBOL, _FIRST, _LAST, _PREVIOUS, _BIDS, _ASKS = 1, 2, 4, 8, 16, 32, 64, 128
_MATCHED, _ID, _PRICE, _SIZE, _MAKER, _AGGREGATE, _KIND, _PAIR = 256, 512, 1024, 2048, 4096, 8192, 16384, 32768
_BID_SIZE, _ASK_SIZE, _FROM, _TO, _BEST_MATCH = 1 << 16, 1 << 17, 1 << 18, 1 << 19, 1 << 20

_NEEDED_DEPTH = _E | _TIME | _SYMBOL | _FIRST | _LAST | _BIDS | _ASKS
_NEEDED_TRADE = _E | _TIME | _SYMBOL | _MATCHED | _ID | _PRICE | _SIZE | _MAKER
_NEEDED_AGGREGATED = _E | _TIME | _SYMBOL | _MATCHED | _AGGREGATE | _PRICE | _SIZE | _MAKER
_NEEDED_BEST = _LAST | _SYMBOL | _BIDS | _BID_SIZE | _ASKS | _ASK_SIZE


@njit(cache=True, nogil=True)
def scan_frames(
    data: Bytes,
    starts: Ints,
    first: int,
    received: Ints,
    table: SymbolTable,
    sync: BinanceSync,
    chained: bool,
    counts: Ints,
    out: EventArray,
    row: int,
) -> tuple[int, int]:
    """Read frames from ``first`` on into ``out`` from ``row`` on, up to one for the complete parser.

    Parameters
    ----------
    data : uint8 array
        The batch's bytes, padded.
    chained : bool
        Whether updates name the one before (``pu``: futures) or follow by number alone (spot).
    counts : int64 array, shape (4,)
        Added to; see :data:`COUNTS`.
    out : event array
        A row for each :data:`BYTES_PER_ROW` bytes at least.

    Returns
    -------
    int, int
        The frame stopped at (the number of frames: all are read) and the next free row.
    """
    slot, name = table.slot, table.name
    instrument_id, quote_id = table.instrument_id, table.quote_id
    price_units, price_places = table.price_units, table.price_places
    lot_units, lot_places = table.lot_units, table.lot_places
    known, last_update, last_trade, trades, clock = sync.known, sync.last, sync.last_trade, sync.trades, sync.clock
    needed_depth = _NEEDED_DEPTH | _PREVIOUS if chained else _NEEDED_DEPTH
    for k in range(first, len(received)):
        i = starts[k]
        end = starts[k + 1]
        ts_recv = received[k]
        wrapped = False
        if end - i < 20:
            return k, row
        if data[i + 2] == 115 and data[i + 3] == 116:  # {"st
            i = scan_literal(data, i, _WRAPPER)
            if i < 0:
                return k, row
            i = scan_string(data, i)
            if i < 0:
                return k, row
            i = scan_literal(data, i, _DATA)
            if i < 0:
                return k, row
            wrapped = True
        if data[i] != 123:
            return k, row
        i += 1
        have = 0
        kind = 0
        symbol = -1
        event_time = np.int64(0)
        match_time = np.int64(0)
        first_id = np.int64(0)
        last_id = np.int64(0)
        previous_id = np.int64(0)
        trade_id = np.int64(0)
        bid = np.int64(0)
        ask = np.int64(0)
        bid_size = np.int64(0)
        ask_size = np.int64(0)
        maker_is_buyer = False
        written = row
        good = False
        while True:
            if data[i] != 34:
                break
            c = data[i + 1]
            if data[i + 2] == 34:
                i += 3
            elif c == 112 and data[i + 3] == 34 and (data[i + 2] == 117 or data[i + 2] == 115):  # pu, ps
                c = data[i + 2] + 128
                i += 4
            else:
                break
            if data[i] != 58:
                break
            i += 1
            bit = 0
            if c == 101:  # e: what it is
                bit = _E
                d = data[i + 1]
                if d == 100:
                    i = scan_literal(data, i, _DEPTH)
                    kind = 1
                elif d == 116:
                    i = scan_literal(data, i, _TRADE)
                    kind = 2
                elif d == 97:
                    i = scan_literal(data, i, _AGGREGATED)
                    kind = 3
                elif d == 98:
                    i = scan_literal(data, i, _BEST)
                    kind = 4
                else:
                    break
                if i < 0 or (kind != 4 and have & (_BIDS | _ASKS | _BID_SIZE | _ASK_SIZE)):
                    break
            elif c == 115:  # s: symbol
                bit = _SYMBOL
                symbol, i = scan_symbol(data, i, slot, name)
                if symbol < 0:
                    break
            elif c == 69:  # E: sent at
                bit = _TIME
                event_time, i = scan_int(data, i)
                if event_time < 0 or event_time > MAX_STAMP:
                    break
                event_time = stamp_to_ns(event_time)
            elif c == 84:  # T: matched at
                bit = _MATCHED
                match_time, i = scan_int(data, i)
                if match_time < 0 or match_time > MAX_STAMP:
                    break
                match_time = stamp_to_ns(match_time)
            elif c == 85:  # U
                bit = _FIRST
                first_id, i = scan_int(data, i)
                if first_id < 0:
                    break
            elif c == 117:  # u
                bit = _LAST
                last_id, i = scan_int(data, i)
                if last_id < 0:
                    break
            elif c == 245:  # pu
                bit = _PREVIOUS
                previous_id, i = scan_int(data, i)
                if previous_id < 0:
                    break
            elif c == 243:  # ps
                bit = _PAIR
                i = scan_string(data, i)
                if i < 0:
                    break
            elif c == 98 or c == 97:  # b, a: levels of a depth update, prices of a best quote, ids of a trade
                bit = _BIDS if c == 98 else _ASKS
                d = data[i]
                if d == 91:
                    if kind != 1 or symbol < 0 or have & (_TIME | _FIRST | _LAST) != (_TIME | _FIRST | _LAST):
                        break
                    i, written = level_list(
                        data, i, price_units[symbol], price_places[symbol], lot_units[symbol], lot_places[symbol],
                        BID if c == 98 else ASK, match_time if have & _MATCHED else event_time, ts_recv, last_id,
                        instrument_id[symbol], out, written,
                    )  # fmt: skip
                    if i < 0:
                        break
                elif d == 34:
                    if symbol < 0 or kind == 1 or kind == 2 or kind == 3:
                        break
                    price, i = scan_decimal(data, i, price_units[symbol], price_places[symbol])
                    if price < 0:
                        break
                    if c == 98:
                        bid = price
                    else:
                        ask = price
                else:
                    if kind != 2 and kind != 3:
                        break
                    number, i = scan_int(data, i)
                    if number < 0:
                        break
                    if c == 97 and kind == 3:
                        bit = _AGGREGATE
                        trade_id = number
            elif c == 66 or c == 65:  # B, A
                if symbol < 0 or kind == 1 or kind == 2 or kind == 3:
                    break
                bit = _BID_SIZE if c == 66 else _ASK_SIZE
                size, i = scan_decimal(data, i, lot_units[symbol], lot_places[symbol])
                if size < 0:
                    break
                if c == 66:
                    bid_size = size
                else:
                    ask_size = size
            elif c == 116:  # t
                bit = _ID
                trade_id, i = scan_int(data, i)
                if trade_id < 0:
                    break
            elif c == 112:  # p
                bit = _PRICE
                if symbol < 0:
                    break
                bid, i = scan_decimal(data, i, price_units[symbol], price_places[symbol])
                if bid <= 0:
                    break
            elif c == 113:  # q
                bit = _SIZE
                if symbol < 0:
                    break
                bid_size, i = scan_decimal(data, i, lot_units[symbol], lot_places[symbol])
                if bid_size <= 0:
                    break
            elif c == 109 or c == 77:  # m: is the buyer the maker; M: to be ignored, says Binance
                bit = _MAKER if c == 109 else _BEST_MATCH
                yes = data[i] == 116
                i = scan_literal(data, i, _TRUE) if yes else scan_literal(data, i, _FALSE)
                if i < 0:
                    break
                if c == 109:
                    maker_is_buyer = yes
            elif c == 88:  # X: how it came about
                bit = _KIND
                i = scan_literal(data, i, _MARKET)
                if i < 0:
                    break
            elif c == 102 or c == 108:  # f, l: first and last trade of an aggregate
                bit = _FROM if c == 102 else _TO
                number, i = scan_int(data, i)
                if number < 0:
                    break
            else:
                break
            if have & bit:
                break
            have |= bit
            if data[i] == 44:
                i += 1
                continue
            if data[i] == 125:
                i += 1
                good = True
            break
        if not good:
            return k, row
        if wrapped:
            if data[i] != 125:
                return k, row
            i += 1
        if i != end:
            return k, row

        if kind == 1:
            if have & needed_depth != needed_depth or known[symbol] == 0:
                return k, row
            if have & ~(needed_depth | _PAIR | _MATCHED):
                return k, row
            last = last_update[symbol]
            if last_id <= last:
                counts[COUNT_OLD] += 1
                continue
            if (previous_id > last) if chained else (first_id > last + 1):
                return k, row
            last_update[symbol] = last_id
            if written > row:
                out[written - 1].flags = F_LAST
                row = written
            else:
                counts[COUNT_EMPTY_DEPTH] += 1
            clock[0] = max(clock[0], match_time if have & _MATCHED else event_time)
        elif kind == 2 or kind == 3:
            needed = _NEEDED_TRADE if kind == 2 else _NEEDED_AGGREGATED
            if have & needed != needed or have & (_FIRST | _LAST | _PREVIOUS | _BID_SIZE | _ASK_SIZE):
                return k, row
            if trades[symbol] != kind - 1:
                if trades[symbol] != 0:
                    counts[COUNT_OTHER_TRADES] += 1
                    continue
                trades[symbol] = kind - 1
            clock[0] = max(clock[0], match_time)
            if trade_id <= last_trade[symbol]:
                counts[COUNT_OLD] += 1
                continue
            last_trade[symbol] = trade_id
            side = BID if maker_is_buyer else ASK
            write_row(
                out, row, match_time, ts_recv, bid, bid_size, trade_id, instrument_id[symbol], TRADE, side, F_LAST
            )
            row += 1
        else:
            if have & _NEEDED_BEST != _NEEDED_BEST or have & ~(_NEEDED_BEST | _E | _TIME | _MATCHED | _PAIR):
                return k, row
            if kind == 0 and have & _E:
                return k, row
            stamp = match_time if have & _MATCHED else event_time
            flags = 0
            if stamp == 0:
                stamp = clock[0] if clock[0] > 0 else ts_recv
                flags = F_TS_CARRIED
            else:
                clock[0] = max(clock[0], stamp)
            instrument = quote_id[symbol]
            if instrument < 0:
                counts[COUNT_BEST_QUOTE] += 1
                continue
            write_row(out, row, stamp, ts_recv, bid, bid_size, last_id, instrument, QUOTE, BID, flags)
            write_row(out, row + 1, stamp, ts_recv, ask, ask_size, last_id, instrument, QUOTE, ASK, flags | F_LAST)
            row += 2
    return len(received), row
