"""What holds of the events of any instrument, as one fold: nights and ingest run it over a session, live over what just arrived.

Each invariant gives a mask of the rows that break it; cutting the stream anywhere gives the same rows.

- ``event_times_do_not_go_back``, ``receive_times_do_not_go_back``: times are at least the previous row's;
- ``nothing_is_received_before_it_happened``: ``ts_recv >= ts_event`` (R4);
- ``event_actions_and_sides_are_known``: those of ``marketdata.events``; book rows have a side;
- ``event_sizes_are_not_negative``;
- ``event_groups_are_closed``: ``F_LAST`` ends a sequence, and sequences do not go back; told at the row behind;
- ``book_prices_are_on_the_tick``: book prices are positive multiples of the tick; prints and hidden executions may lie between;
- ``book_is_never_crossed``: at the end of a group of a matching book the bid is below the ask while it trades (a STATUS row
  says when it does not: a call before an auction may cross); of a consolidated or dealer book, ``F_CROSSED`` says what the
  book says (R5);
- ``volume_is_conserved``: nothing leaves a level that was not there;
- ``executions_are_at_the_best``: a visible execution is at the best of its side, a hidden one inside the spread (R6);
- ``book_has_no_gaps``: the book is not lost in mid-stream.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.book import COUNT_HALTED, BookState, book_apply, book_best, empty_book
from marketdata.events import (
    ADD,
    CLEAR,
    DELETE,
    EXECUTE,
    F_CROSSED,
    F_LAST,
    F_SNAPSHOT,
    HIDDEN,
    LEVEL,
    QUOTE,
    REDUCE,
    STATUS,
    EventArray,
)
from marketdata.instruments import BookKind, Instrument

Mask = npt.NDArray[np.bool_]

INVARIANTS: Final = (
    "event_times_do_not_go_back",
    "receive_times_do_not_go_back",
    "nothing_is_received_before_it_happened",
    "event_actions_and_sides_are_known",
    "event_sizes_are_not_negative",
    "event_groups_are_closed",
    "book_prices_are_on_the_tick",
    "book_is_never_crossed",
    "volume_is_conserved",
    "executions_are_at_the_best",
    "book_has_no_gaps",
)
_SIDED: Final = (ADD, REDUCE, DELETE, EXECUTE, LEVEL, QUOTE)
_LOWEST: Final = -(2**63)
TOLERANT: Final = (BookKind.NBBO, BookKind.DEALER)
"""Kinds of book that may be crossed, flagged."""


@dataclass
class InvariantState:
    """What the fold remembers of one instrument: its book, the last times, the group that is open."""

    book: BookState = field(default_factory=empty_book)
    ts_event: int = _LOWEST
    ts_recv: int = _LOWEST
    sequence: int = _LOWEST
    is_open: bool = False
    rows: int = 0


@njit(cache=True)
def _walk(
    book: BookState,
    action: npt.NDArray[np.uint8],
    side: npt.NDArray[np.int8],
    price: npt.NDArray[np.int64],
    size: npt.NDArray[np.int64],
    flags: npt.NDArray[np.uint8],
    crossed: npt.NDArray[np.uint8],
    missing: npt.NDArray[np.bool_],
    outside: npt.NDArray[np.bool_],
) -> None:
    """Fold the book; mark crossed group ends, rows that took what was not there, executions off the best; see :func:`walk`."""
    for k in range(len(action)):
        if action[k] == EXECUTE or action[k] == HIDDEN:
            bid, bid_size, ask, ask_size = book_best(book)
            if action[k] == EXECUTE:
                best = bid if side[k] > 0 else ask
                outside[k] = (bid_size if side[k] > 0 else ask_size) > 0 and price[k] != best
            else:
                outside[k] = bid_size > 0 and ask_size > 0 and (price[k] < bid or price[k] > ask)
        before = book.counters[0]
        book_apply(book, action[k], side[k], price[k], size[k])
        missing[k] = book.counters[0] > before
        if flags[k] & F_LAST:
            bid, bid_size, ask, ask_size = book_best(book)
            if bid_size > 0 and ask_size > 0 and bid >= ask:
                crossed[k] = 2 if bid > ask else 1


def walk(book: BookState, events: EventArray) -> tuple[npt.NDArray[np.uint8], Mask, Mask]:
    """Fold events into a book, in place, and look at it after each row.

    Returns
    -------
    crossed : uint8 array, shape (n,)
        At the end of a group: 1 where the book is locked, 2 where it is crossed; else 0.
    missing : bool array, shape (n,)
        Whether the row took more out of a level than was there.
    outside : bool array, shape (n,)
        Whether the row is a visible execution off the best of its side, or a hidden one outside the spread.
    """
    count = len(events)
    crossed, missing, outside = np.zeros(count, np.uint8), np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    columns = [np.ascontiguousarray(events[c]) for c in ("action", "side", "price_units", "size_lots", "flags")]
    _walk(book, *columns, crossed, missing, outside)
    return crossed, missing, outside


@dataclass(frozen=True, slots=True)
class Broken:
    """The rows of a batch that break each invariant, by name; and at each group's end whether it is locked (1) or crossed (2)."""

    rows: Mapping[str, Mask]
    crossed: npt.NDArray[np.uint8]

    def counts(self) -> dict[str, int]:
        """Return how many rows break each invariant that any row breaks."""
        found = {name: int(np.count_nonzero(mask)) for name, mask in self.rows.items()}
        return {name: count for name, count in found.items() if count}


def broken_rows(state: InvariantState, events: EventArray, instrument: Instrument) -> Broken:
    """Return which rows of a batch break an invariant; the state is changed in place.

    Parameters
    ----------
    state : InvariantState
        Of this instrument, after all earlier batches.
    events : event array, shape (n,)
        Of this instrument, in order; any n.
    """
    count = len(events)
    action, side, size = events["action"], events["side"], events["size_lots"]
    priced = np.isin(action, _SIDED) & ((action != QUOTE) | (size > 0))
    sided = np.isin(action, _SIDED)
    halted = _halted(events, bool(state.book.counters[COUNT_HALTED]))
    crossed, missing, outside = walk(state.book, events)
    if instrument.book_kind in TOLERANT:
        flagged = (events["flags"] & F_CROSSED) > 0
        cross = flagged != (crossed == 2)
        outside[:] = False  # quotes of other venues: prints lie where they lie
    else:
        cross = (crossed > 0) & ~halted
    lost = (action == CLEAR) & ((events["flags"] & F_SNAPSHOT) == 0)
    if count and state.rows == 0:
        lost[0] = False
    rows = {
        "event_times_do_not_go_back": _back(events["ts_event"], state.ts_event),
        "receive_times_do_not_go_back": _back(events["ts_recv"], state.ts_recv),
        "nothing_is_received_before_it_happened": events["ts_recv"] < events["ts_event"],
        "event_actions_and_sides_are_known": ~((action >= ADD) & (action <= STATUS) & (np.abs(side) <= 1))
        | (sided & (side == 0)),
        "event_sizes_are_not_negative": size < 0,
        "event_groups_are_closed": _group_faults(state, events),
        "book_prices_are_on_the_tick": priced
        & ((events["price_units"] % instrument.tick_units != 0) | (events["price_units"] <= 0)),
        "book_is_never_crossed": cross,
        "volume_is_conserved": missing,
        "executions_are_at_the_best": outside,
        "book_has_no_gaps": lost,
    }
    if count:
        state.ts_event, state.ts_recv = int(events["ts_event"][-1]), int(events["ts_recv"][-1])
        state.sequence = int(events["sequence"][-1])
        state.is_open = not events["flags"][-1] & F_LAST
        state.rows += count
    return Broken(rows, crossed)


def _halted(events: EventArray, before: bool) -> Mask:
    """Return whether the market is halted after each row."""
    told = np.flatnonzero(events["action"] == STATUS)
    states = np.append(before, events["size_lots"][told] == 0)
    return np.asarray(states[np.searchsorted(told, np.arange(len(events)), side="right")], np.bool_)


def _back(times: npt.NDArray[np.int64], before: int) -> Mask:
    back = np.zeros(len(times), np.bool_)
    if len(times):
        back[0] = times[0] < before
        back[1:] = times[1:] < times[:-1]
    return back


def _group_faults(state: InvariantState, events: EventArray) -> Mask:
    """Mark rows before which a group ended without ``F_LAST``, or went on behind it, or a sequence went back."""
    count = len(events)
    if not count:
        return np.zeros(0, np.bool_)
    sequence = np.concatenate([[state.sequence], events["sequence"]])
    last = np.concatenate([[not state.is_open], (events["flags"] & F_LAST) > 0])
    wrong = (last[:-1] != (sequence[1:] != sequence[:-1])) | (sequence[1:] < sequence[:-1])
    if state.rows == 0:
        wrong[0] = False
    return np.asarray(wrong, np.bool_)


class InvariantMonitor:
    """The invariants over live events of several instruments: counts what breaks them as it comes.

    Attributes
    ----------
    counts : dict of str to int
        Rows that broke each invariant so far.
    """

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._instruments = {item.instrument_id: item for item in instruments}
        self._states = {number: InvariantState() for number in self._instruments}
        self.counts: dict[str, int] = {}

    def take(self, events: EventArray) -> dict[str, int]:
        """Look at a batch, mixed instruments allowed, and return how many of its rows break each invariant; empty: none."""
        found: dict[str, int] = {}
        for number in np.unique(events["instrument_id"]).tolist():
            rows = events[events["instrument_id"] == number]
            for name, count in broken_rows(self._states[number], rows, self._instruments[number]).counts().items():
                found[name] = found.get(name, 0) + count
        for name, count in found.items():
            self.counts[name] = self.counts.get(name, 0) + count
        return found
