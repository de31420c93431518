"""One interface to a book of either depth, for Python: levels only (L2), or every order (L3).

Kernels do not come through here: they hold the states themselves (:class:`marketdata.book.BookState`,
:class:`marketdata.order_book.OrderBookState`) and call the functions beside them.
"""

from typing import NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from marketdata import book as level_book
from marketdata import order_book, order_queries
from marketdata.events import BID, EventArray
from marketdata.matching import RUN_DONE, RUN_GROW, run_messages
from marketdata.order_feed import apply_orders
from marketdata.order_index import PRICE_LIMIT
from marketdata.order_messages import RESPONSE_DTYPE

Int64 = npt.NDArray[np.int64]
Records = npt.NDArray[np.void]


class Best(NamedTuple):
    """The best quotes in price units and lots; price 0 and 0 lots where a side is empty."""

    bid_units: int
    bid_lots: int
    ask_units: int
    ask_lots: int


class Counters(NamedTuple):
    """What a book has noticed so far.

    Attributes
    ----------
    missing : int
        Events that took orders or lots which were not there.
    duplicate : int
        New orders whose id was live already (L3 only); they changed nothing.
    crossed : int
        Event groups that ended with the best bid above the best ask.
    halted : bool
        Whether trading is halted.
    """

    missing: int
    duplicate: int
    crossed: int
    halted: bool


class Book(Protocol):
    """A book of one instrument; sides are BID and ASK as in events."""

    @property
    def counters(self) -> Counters:
        """What the book has noticed so far."""

    def apply(self, events: EventArray) -> Int64:
        """Apply one instrument's events in order; return the best quotes after each: int64, shape (n, 4), as in Best."""

    def best(self) -> Best:
        """Return the best quotes."""

    def size_at(self, side: int, price_units: int) -> int:
        """Return the lots at a price; 0 where there is no level."""

    def depth(self, count: int) -> tuple[Int64, Int64]:
        """Return up to ``count`` best bids and asks, best first: int64 of shape (n, 3), price units, lots, orders (L2: 0)."""

    def levels(self, side: int) -> Int64:
        """Return every level of a side in the form of :meth:`depth`."""

    def copy(self) -> Self:
        """Return a checkpoint: a book that goes on by itself."""


class LevelBook:
    """An L2 book: levels from deltas and snapshots, as many as there are.

    Parameters
    ----------
    levels : int
        Levels a side to start with room for.
    """

    def __init__(self, levels: int = level_book.DEFAULT_LEVELS) -> None:
        self.state = level_book.empty_book(levels)

    @property
    def counters(self) -> Counters:
        """What the book has noticed so far."""
        c = self.state.counters
        return Counters(
            missing=int(c[level_book.COUNT_MISSING]),
            duplicate=0,
            crossed=int(c[level_book.COUNT_CROSSED]),
            halted=bool(c[level_book.COUNT_HALTED]),
        )

    def apply(self, events: EventArray) -> Int64:
        """Apply events; see :meth:`Book.apply`. No level is dropped: the book grows."""
        out = np.empty((len(events), 4), np.int64)
        done = 0
        while done < len(events):
            levels = self.state.price.shape[1]
            room = levels - int(self.state.count.max())
            if 4 * room < levels:
                self.state = level_book.grow_book(self.state)
                continue
            part = events[done : done + room]
            out[done : done + len(part)] = level_book.fold_best(self.state, part)
            done += len(part)
        return out

    def best(self) -> Best:
        """Return the best quotes."""
        return Best(*(int(x) for x in level_book.book_best(self.state)))

    def size_at(self, side: int, price_units: int) -> int:
        """Return the lots at a price; 0 where there is no level."""
        return int(level_book.book_level_size(self.state, 0 if side == BID else 1, price_units))

    def depth(self, count: int) -> tuple[Int64, Int64]:
        """Return up to ``count`` best bids and asks; see :meth:`Book.depth`."""
        return self._levels(0, count), self._levels(1, count)

    def levels(self, side: int) -> Int64:
        """Return every level of a side in the form of :meth:`depth`."""
        index = 0 if side == BID else 1
        return self._levels(index, int(self.state.count[index]))

    def copy(self) -> "LevelBook":
        """Return a checkpoint."""
        twin = LevelBook.__new__(LevelBook)
        twin.state = level_book.copy_book(self.state)
        return twin

    def _levels(self, index: int, count: int) -> Int64:
        end = int(self.state.count[index])
        first = max(end - count, 0)
        out = np.zeros((end - first, 3), np.int64)
        out[:, 0] = self.state.price[index, first:end][::-1]
        out[:, 1] = self.state.size[index, first:end][::-1]
        return out


class OrderBook:
    """An L3 book: every order, rebuilt from a venue's feed (:meth:`apply`) or matched here (:meth:`process`); it grows as needed.

    Parameters
    ----------
    max_orders, max_levels : int
        Live orders and levels to start with room for.
    """

    def __init__(self, max_orders: int = 16_384, max_levels: int = 2_048) -> None:
        self.state = order_book.empty_order_book(max_orders, max_levels)

    @classmethod
    def of(cls, state: order_book.OrderBookState) -> "OrderBook":
        """Return a book over a state that a kernel holds; they share its memory until this one grows."""
        book = cls.__new__(cls)
        book.state = state
        return book

    @property
    def counters(self) -> Counters:
        """What the book has noticed so far."""
        c = self.state.counters
        return Counters(
            missing=int(c[order_book.MISSING]),
            duplicate=int(c[order_book.DUPLICATE]),
            crossed=int(c[order_book.CROSSED]),
            halted=bool(c[order_book.HALTED]),
        )

    def apply(self, events: EventArray) -> Int64:
        """Apply a feed's events without matching; see :meth:`Book.apply` and :mod:`marketdata.order_feed`."""
        out = np.empty((len(events), 4), np.int64)
        done = 0
        while done < len(events):
            done += int(apply_orders(self.state, events[done:], out[done:]))
            if done < len(events):
                self.state = order_book.grow_order_book(self.state)
        return out

    def process(self, messages: Records) -> tuple[Records, Records]:
        """Match messages by the rules of :mod:`marketdata.matching`.

        Parameters
        ----------
        messages : MESSAGE_DTYPE array, shape (n,)

        Returns
        -------
        responses : RESPONSE_DTYPE array, shape (n,)
            One a message.
        fills : FILL_DTYPE array
            In order; ``sequence`` is the number of the message since the book was made, from 1.
        """
        responses = np.zeros(len(messages), RESPONSE_DTYPE)
        parts = []
        done = 0
        while True:
            status, consumed, first = run_messages(self.state, messages[done:], responses[done:])
            parts.append(self.state.fills[first : self.state.counters[order_book.FILLS_TO]].copy())
            done += consumed
            if status == RUN_DONE:
                return responses, np.concatenate(parts)
            if status == RUN_GROW:
                self.state = order_book.grow_order_book(self.state)

    def recent_trades(self, count: int) -> Records:
        """Return up to ``count`` last trades, oldest first: FILL_DTYPE; the book keeps at least the last 256 fills."""
        fills = self.state.fills[: self.state.counters[order_book.FILLS_TO]]
        return fills[fills["kind"] == order_book.TRADE][-count:].copy()

    def order(self, order_id: int) -> tuple[int, int, int] | None:
        """Return (side, price units, lots) of a live order, None of any other id."""
        side, price, lots = order_queries.order_state(self.state, order_id)
        return (1 - 2 * int(side), int(price), int(lots)) if lots > 0 else None

    def lots_ahead(self, order_id: int) -> int | None:
        """Return the lots that trade before this order at its price; None for an id that does not rest."""
        ahead = int(order_queries.lots_ahead(self.state, order_id))
        return ahead if ahead >= 0 else None

    def best(self) -> Best:
        """Return the best quotes."""
        return Best(*(int(x) for x in order_queries.best_quotes(self.state)))

    def size_at(self, side: int, price_units: int) -> int:
        """Return the lots at a price; 0 where there is no level."""
        if not -PRICE_LIMIT < price_units < PRICE_LIMIT:
            return 0
        return int(order_queries.level_lots(self.state, 0 if side == BID else 1, price_units))

    def depth(self, count: int) -> tuple[Int64, Int64]:
        """Return up to ``count`` best bids and asks; see :meth:`Book.depth`."""
        return self._levels(0, count), self._levels(1, count)

    def levels(self, side: int) -> Int64:
        """Return every level of a side in the form of :meth:`depth`."""
        return self._levels(0 if side == BID else 1, int(order_queries.count_levels(self.state)))

    def copy(self) -> "OrderBook":
        """Return a checkpoint."""
        return OrderBook.of(order_book.copy_order_book(self.state))

    def _levels(self, index: int, count: int) -> Int64:
        out = np.zeros((min(count, int(order_queries.count_levels(self.state))), 3), np.int64)
        return out[: order_queries.read_depth(self.state, index, out)]
