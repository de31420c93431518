"""Bitstamp order by order: ``live_orders`` as ADD, EXECUTE, DELETE with order ids.

What the venue tells. ``order_created``; ``order_changed`` with what is left (EXECUTE of the rest; at another price
DELETE and ADD); ``order_deleted`` with what was left (0: it was filled, EXECUTE; else it was cancelled, DELETE).

An order that trades on arrival is created as well, at a price that crosses the book, and the messages about both sides
of its trades follow in no fixed order. Such an *aggressor* stays outside the book until what it crosses is gone, then
what is left of it is added: so the book never stands crossed, and a trade is told once, by the resting order. Where the
resting order's message comes before the aggressor's, the aggressor enters the book first and shrinks after: an
order younger than :data:`PAIR_NS` that shrinks by what the other side has just executed is that trade's other half, so
it is REDUCE (or DELETE), counted as ``other_half``. If what an aggressor crosses is still there after :data:`GHOST_NS`,
the message that removed it was missed: it is removed then (DELETE, ``ghost_order``).

Sequence rule: none (``microtimestamp`` rises). Without a snapshot the book grows from nothing: orders that were there
before are unknown, their deletion is counted as ``unknown_order``, a change makes them known (ADD flagged
``F_SNAPSHOT``). A snapshot with ids (``group=2``) makes the whole book known; messages up to its time are dropped,
later ones that came before it are applied behind it. A new connection makes the book unknown. Trades are counted as
``trade``: executions tell them. Messages of 2015 have no exchange time but an order's creation in whole seconds: others
carry the last one (``F_TS_CARRIED``).

https://www.bitstamp.net/websocket/v2/
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

import msgspec

from marketdata.clock import NS_PER_S, NS_PER_US
from marketdata.codecs.bitstamp import CONTROL, MESSAGE, REST, moment_ns, snapshot_pair, subscribed
from marketdata.codecs.decimals import Step, step_of
from marketdata.codecs.reports import number_pair, whole_number
from marketdata.codecs.resting_orders import RestingOrders
from marketdata.codecs.wire import BadFrame, Number, Row, as_events, clear_row, decode, price_and_lots
from marketdata.events import ADD, ASK, BID, CLEAR, DELETE, EXECUTE, F_LAST, F_SNAPSHOT, F_TS_CARRIED, REDUCE
from marketdata.frames import QUARANTINE, RAISE, Decoded, Endpoint, FrameBatch, FrameError, Rejected
from marketdata.instruments import Instrument

GHOST_NS: Final = 5 * NS_PER_S
PAIR_NS: Final = 2 * NS_PER_S
MAX_PENDING: Final = 10_000
"""Messages kept until a snapshot comes; beyond, the oldest go: a snapshot will be newer than they."""

CREATED: Final = "order_created"
CHANGED: Final = "order_changed"
DELETED: Final = "order_deleted"


class _Order(msgspec.Struct):
    id: Number
    order_type: Literal[0, 1]
    price: msgspec.Raw
    amount: msgspec.Raw
    price_str: str = ""
    amount_str: str = ""
    datetime: str = ""
    microtimestamp: str = ""


class _Snapshot(msgspec.Struct):
    microtimestamp: str
    bids: list[tuple[str, str, str]]
    asks: list[tuple[str, str, str]]


_ORDER: Final = msgspec.json.Decoder(_Order)
_SNAPSHOT: Final = msgspec.json.Decoder(_Snapshot)


class _Told(NamedTuple):
    """An order message on the grid; ``ts_event`` is 0 where it has no time of its own."""

    event: str
    order_id: int
    side: int
    units: int
    lots: int
    ts_event: int


class _Whole(NamedTuple):
    """A snapshot on the grid: exchange time, and (id, side, price units, lots) in the order of the queue."""

    ts_event: int
    orders: list[tuple[int, int, int, int]]


@dataclass(slots=True)
class OrderMemory:
    """One symbol: what rests, aggressors (id to side, price, lots, since when), messages kept for a snapshot.

    ``born`` says when young orders came, ``executed`` what was executed of late: (when, side, lots).
    """

    known: bool = False
    resting: RestingOrders = field(default_factory=RestingOrders)
    aggressors: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)
    pending: deque[_Told] = field(default_factory=lambda: deque(maxlen=MAX_PENDING))
    born: dict[int, int] = field(default_factory=dict)
    executed: deque[tuple[int, int, int]] = field(default_factory=deque)
    count: int = 0
    since: int = 0
    stream: str = ""


@dataclass(slots=True)
class OrderState:
    """The fold's state: memory by symbol, and the latest exchange time that any frame carried."""

    memory: dict[str, OrderMemory]
    clock: int = 0


class BitstampOrders:
    """The codec; see the module.

    Parameters
    ----------
    instruments : mapping of str to Instrument
        By Bitstamp's pair (``btcusd``). Frames of other pairs are counted as ``other_symbol``.
    policy : str
        ``raise`` or ``quarantine``.
    """

    def __init__(self, instruments: Mapping[str, Instrument], policy: str = RAISE) -> None:
        if policy not in (RAISE, QUARANTINE):
            raise ValueError(f"the policy is {RAISE!r} or {QUARANTINE!r}, not {policy!r}")
        self._instruments = dict(instruments)
        self._policy = policy
        self._steps: dict[str, tuple[Step, Step]] = {
            symbol: (step_of(i.price_decimals), step_of(i.lot_size)) for symbol, i in self._instruments.items()
        }

    @property
    def venue(self) -> str:
        """Return the name in the catalogue."""
        return "bitstamp_l3"

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """Return the instruments by pair."""
        return self._instruments

    def init(self) -> OrderState:
        """Return the state before the first frame."""
        return OrderState({symbol: OrderMemory() for symbol in self._instruments})

    def endpoints(self, symbols: Sequence[str]) -> tuple[Endpoint, ...]:
        """Return one connection: orders, and trades."""
        return (subscribed([f"{kind}_{symbol}" for symbol in symbols for kind in ("live_orders", "live_trades")]),)

    def snapshot_url(self, symbol: str) -> str:
        """Return the address of the book with order ids."""
        return f"{REST}/{symbol}/?group=2"

    def iter_numbers(self, batch: FrameBatch) -> Iterator[tuple[str, str, str]]:
        """Yield (symbol, price, size) as written; see :class:`~marketdata.codecs.catalog.VenueCodec`."""
        for k in range(len(batch)):
            raw = batch.frame(k)
            try:
                pair = snapshot_pair(batch.streams[batch.stream[k]])
                if pair is not None:
                    whole = decode(_SNAPSHOT, raw)
                    for price, size, _ in (*whole.bids, *whole.asks):
                        yield pair, price, size
                    continue
                message = decode(MESSAGE, raw)
                if message.event in (CREATED, CHANGED, DELETED):
                    order = decode(_ORDER, message.data)
                    numbers = number_pair(order.price_str or order.price, order.amount_str or order.amount)
                    yield message.channel.rpartition("_")[2], *numbers
            except BadFrame:
                continue

    def step(self, state: OrderState, batch: FrameBatch) -> tuple[OrderState, Decoded]:
        """Read a batch; see :class:`~marketdata.frames.FrameCodec`."""
        rows: list[Row] = []
        rejected: list[Rejected] = []
        ignored: Counter[str] = Counter()
        for k in range(len(batch)):
            ts_recv, stream, raw = int(batch.ts_recv[k]), batch.streams[batch.stream[k]], batch.frame(k)
            if not raw:
                ignored["opened"] += 1
                for symbol, memory in state.memory.items():
                    if memory.stream == stream and (memory.resting.orders or memory.aggressors):
                        number = memory.count + 1
                        head = (state.clock or ts_recv, ts_recv, number)
                        rows.append(clear_row(self._id(symbol), *head, F_TS_CARRIED | F_LAST))
                        state.memory[symbol] = OrderMemory(count=number)
                continue
            try:
                symbol, told = self._read(raw, stream)
            except BadFrame as error:
                if self._policy == RAISE:
                    raise FrameError(self.venue, stream, k, error.offset, error.reason) from error
                rejected.append(Rejected(k, error.offset, error.reason))
                continue
            if isinstance(told, str):
                ignored[told] += 1
            elif isinstance(told, _Whole):
                rows += self._start(state, symbol, told, ts_recv, ignored)
            else:
                state.memory[symbol].stream = stream
                rows += self._apply(state, symbol, told, ts_recv, ignored)
        wants = tuple(symbol for symbol, memory in state.memory.items() if not memory.known)
        return state, Decoded(as_events(rows), (), tuple(rejected), wants, dict(ignored))

    def _id(self, symbol: str) -> int:
        return self._instruments[symbol].instrument_id

    def _read(self, raw: bytes, stream: str) -> tuple[str, _Told | _Whole | str]:
        """Return the symbol and what the frame says; a text is a reason for no event."""
        pair = snapshot_pair(stream)
        if pair is not None:
            whole = decode(_SNAPSHOT, raw)
            if pair not in self._instruments:
                return pair, "other_symbol"
            orders = [
                (whole_number(name), side, *self._on_grid(pair, price, size))
                for side, told in ((BID, whole.bids), (ASK, whole.asks))
                for price, size, name in told
            ]
            if any(lots == 0 for *_, lots in orders):
                raise BadFrame(f"{pair}: a snapshot with an empty order")
            return pair, _Whole(whole_number(whole.microtimestamp) * NS_PER_US, orders)
        message = decode(MESSAGE, raw)
        kind, _, pair = message.channel.rpartition("_")
        if message.event in CONTROL:
            return pair, message.event.removeprefix("bts:")
        if (kind, message.event) in (("live_trades", "trade"), ("order_book", "order_book"), ("order_book", "data")):
            return pair, message.event
        if kind != "live_orders" or message.event not in (CREATED, CHANGED, DELETED):
            raise BadFrame(f"unknown kind of frame: event {message.event!r} of channel {message.channel!r}")
        order = decode(_ORDER, message.data)
        if pair not in self._instruments:
            return pair, "other_symbol"
        price, size = number_pair(order.price_str or order.price, order.amount_str or order.amount)
        units, lots = self._on_grid(pair, price, size)
        if units == 0:
            raise BadFrame(f"{pair}: an order at price {price}")
        created = order.datetime if message.event == CREATED else ""
        time = moment_ns(order.microtimestamp, created)
        return pair, _Told(message.event, order.id, BID if order.order_type == 0 else ASK, units, lots, time)

    def _on_grid(self, symbol: str, price: str, size: str) -> tuple[int, int]:
        return price_and_lots(price, size, self._instruments[symbol], self._steps[symbol])

    def _start(self, state: OrderState, symbol: str, whole: _Whole, ts_recv: int, ignored: Counter[str]) -> list[Row]:
        """Begin the book with a snapshot, then apply what was kept and is newer."""
        before = state.memory[symbol]
        if before.known and whole.ts_event < before.since:
            ignored["old_snapshot"] += 1
            return []
        memory = OrderMemory(known=True, count=before.count + 1, since=whole.ts_event, stream=before.stream)
        state.memory[symbol] = memory
        state.clock = max(state.clock, whole.ts_event)
        head, instrument = (whole.ts_event, ts_recv), self._id(symbol)
        rows: list[Row] = [(*head, 0, 0, 0, memory.count, instrument, CLEAR, 0, F_SNAPSHOT, 0)]
        for order_id, side, units, lots in whole.orders:
            memory.resting.put(order_id, side, units, lots)
            rows.append((*head, units, lots, order_id, memory.count, instrument, ADD, side, F_SNAPSHOT, 0))
        rows[-1] = (*rows[-1][:9], F_SNAPSHOT | F_LAST, 0)
        for told in before.pending:
            rows += self._apply(state, symbol, told, ts_recv, ignored)
        return rows

    def _apply(self, state: OrderState, symbol: str, told: _Told, ts_recv: int, ignored: Counter[str]) -> list[Row]:
        memory, instrument = state.memory[symbol], self._id(symbol)
        if memory.known and told.ts_event and told.ts_event <= memory.since:
            ignored["old"] += 1
            return []
        if not memory.known:
            memory.pending.append(told)
        flags = 0 if told.ts_event else F_TS_CARRIED
        state.clock = max(state.clock, told.ts_event)
        head = (told.ts_event or state.clock or ts_recv, ts_recv)
        memory.count += 1
        rows: list[Row] = []

        def row(action: int, order_id: int, side: int, units: int, lots: int, more: int = 0) -> None:
            rows.append((*head, units, lots, order_id, memory.count, instrument, action, side, flags | more, 0))

        self._change(memory, told, ts_recv, ignored, row)
        for order_id, (side, units, lots, since) in list(memory.aggressors.items()):
            if memory.resting.crosses(side, units):
                if ts_recv - since < GHOST_NS:
                    continue
                for ghost in memory.resting.crossed_by(side, units):
                    row(DELETE, ghost, *memory.resting.orders[ghost])
                    memory.resting.drop(ghost)
                    ignored["ghost_order"] += 1
            del memory.aggressors[order_id]
            memory.resting.put(order_id, side, units, lots)
            memory.born[order_id] = ts_recv
            row(ADD, order_id, side, units, lots)
        if rows:
            rows[-1] = (*rows[-1][:9], rows[-1][9] | F_LAST, 0)
        return rows

    def _change(
        self, memory: OrderMemory, told: _Told, ts_recv: int, ignored: Counter[str], row: Callable[..., None]
    ) -> None:
        """Apply one message to the order that it names."""
        _, order_id, side, units, lots, _ = told
        resting = memory.resting
        if order_id in memory.aggressors:
            since = memory.aggressors.pop(order_id)[3]
            if told.event != DELETED and lots:
                memory.aggressors[order_id] = (side, units, lots, since)
            ignored["aggressor"] += 1
            return
        if order_id not in resting.orders:
            if told.event == DELETED or lots == 0:
                ignored["unknown_order"] += 1
            elif resting.crosses(side, units):
                memory.aggressors[order_id] = (side, units, lots, ts_recv)
                ignored["aggressor"] += 1
            else:
                resting.put(order_id, side, units, lots)
                memory.born[order_id] = ts_recv
                row(ADD, order_id, side, units, lots, 0 if told.event == CREATED else F_SNAPSHOT)
            return
        before = resting.orders[order_id]
        if told.event == CREATED:
            ignored["old"] += 1
            return
        if (side, units) != before[:2] or lots > before[2]:
            row(DELETE, order_id, *before)
            resting.drop(order_id)
            if told.event == CHANGED and lots:
                memory.aggressors[order_id] = (side, units, lots, ts_recv)  # enters below, unless it crosses
            return
        gone = before[2] - lots
        if gone and _is_other_half(memory, order_id, side, gone, ts_recv):
            ignored["other_half"] += 1
            row(REDUCE if lots else DELETE, order_id, side, units, gone)
        elif gone:
            memory.executed.append((ts_recv, side, gone))
            row(EXECUTE, order_id, side, units, gone)
        if told.event == DELETED and lots:
            row(DELETE, order_id, side, units, lots)
        if before[2] == lots and told.event == CHANGED:
            ignored["unchanged_order"] += 1
        if told.event == DELETED or lots == 0:
            resting.drop(order_id)
        else:
            resting.put(order_id, side, units, lots)


def _is_other_half(memory: OrderMemory, order_id: int, side: int, gone: int, ts_recv: int) -> bool:
    """Return whether a young order shrinks by a trade that the other side has told already; a trade pairs once."""
    while memory.executed and ts_recv - memory.executed[0][0] > PAIR_NS:
        memory.executed.popleft()
    while memory.born and ts_recv - next(iter(memory.born.values())) > PAIR_NS:
        del memory.born[next(iter(memory.born))]
    if order_id not in memory.born:
        return False
    for told in memory.executed:
        if told[1:] == (-side, gone):
            memory.executed.remove(told)
            return True
    return False
