"""A feature of one's own: the form it takes, and the checks that it is causal.

A file gives its feature as ``FEATURE``, in one of two forms. A *kernel* is a compiled function of one published signature that is
called with each event and the best quotes after it; it cannot see what comes later::

    from features.own import OwnKernel, own_step

    @own_step
    def step(state, now, action, side, price, lots, bid, bid_lots, ask, ask_lots):
        state[0] += lots if action == 4 else 0
        return state[0]

    FEATURE = OwnKernel("volume_so_far", "lots", "lots executed at visible orders so far", 1, step)

A *fold* is any object with ``name``, ``unit``, ``formula``, ``init() -> state`` and ``step(state, events) -> (state, values)``,
one value an event. It may look at a whole batch, so it may look ahead; :func:`check_own` finds the first row at which it does.

A kernel that says how far back it reaches (``memory_ns``) becomes a column of the feature rows, at night and live, where the
settings name its file: ``[sampling] own = ["features/mine.py"]``. The file's bytes are part of the feature fingerprint.
"""

import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from numba import from_dtype, njit, types

from features.entry import FeatureEntry
from marketdata.book import BookState, copy_book, empty_book, levels_apply
from marketdata.events import EVENT_DTYPE, EventArray

if TYPE_CHECKING:
    from features.pipeline import FeaturePipeline

Float64 = npt.NDArray[np.float64]

OWN_SIGNATURE: Final = types.float64(
    types.Array(types.float64, 1, "C"),
    types.int64,
    types.int64,
    types.int64,
    types.int64,
    types.int64,
    types.int64,
    types.int64,
    types.int64,
    types.int64,
)
"""Published signature of a compiled step: state (float64 array, changed in place), receive time (ns), action, side, price
(units) and lots of the event, then bid, its lots, ask and its lots after it (0 lots: the side is empty). Returns the value; NaN:
unknown."""

_FOLD_SIGNATURE: Final = types.void(
    types.FunctionType(OWN_SIGNATURE),
    types.Array(types.float64, 1, "C"),
    types.Array(types.int64, 2, "C"),
    types.Array(types.int64, 2, "C"),
    types.Array(types.int64, 1, "C"),
    types.Array(types.int64, 1, "C"),
    types.Array(from_dtype(EVENT_DTYPE), 1, "C"),
    types.Array(types.float64, 1, "C"),
)


OWN: Final = "own"
"""Name of their family in the catalogue."""


class OwnState(NamedTuple):
    """State of a kernel of one's own: the book after the last event, and the values that the step keeps, float64."""

    book: BookState
    values: Float64


class OwnFeatureError(ValueError):
    """A file gives no feature; the message names the file and what is missing."""


@runtime_checkable
class OwnFeature(Protocol):
    """A causal fold over one instrument's events."""

    name: str
    unit: str
    formula: str

    def init(self) -> Any:
        """Return the state before the first event."""
        ...

    def step(self, state: Any, events: EventArray) -> tuple[Any, Float64]:
        """Fold a batch of events, any number, and return the new state with one value an event; NaN: unknown."""
        ...


def own_step(function: Callable[..., float]) -> Callable[..., float]:
    """Compile a step with the published signature; a decorator."""
    compiled: Callable[..., float] = njit(OWN_SIGNATURE)(function)
    return compiled


@njit(_FOLD_SIGNATURE)  # not cached: it is compiled for a first-class function of another file in a moment
def _fold_own(step, state, prices, sizes, count, counters, events, out):  # type: ignore[no-untyped-def]  # numba types it
    for k in range(len(events)):
        event = events[k]
        levels_apply(prices, sizes, count, counters, event.action, event.side, event.price_units, event.size_lots)
        bids = count[0]
        asks = count[1]
        out[k] = step(
            state,
            event.ts_recv,
            event.action,
            event.side,
            event.price_units,
            event.size_lots,
            prices[0, bids - 1] if bids > 0 else 0,
            sizes[0, bids - 1] if bids > 0 else 0,
            prices[1, asks - 1] if asks > 0 else 0,
            sizes[1, asks - 1] if asks > 0 else 0,
        )


@dataclass(frozen=True)
class OwnKernel:
    """A feature made of a compiled step.

    Attributes
    ----------
    name, unit, formula : str
        As in the catalogue.
    size : int
        Length of the state, float64, zero before the first event.
    compiled : callable
        Of :data:`OWN_SIGNATURE`, see :func:`own_step`.
    memory_ns : int or None
        How far back a value reaches: rows are purged by it. None: not said, and then it is linted but not stored.
    warmup_ns : int
        How long it stays NaN at least after the start.
    reference : str
        Where it comes from.
    """

    name: str
    unit: str
    formula: str
    size: int
    compiled: Callable[..., float]
    memory_ns: int | None = None
    warmup_ns: int = 0
    reference: str = ""

    def init(self) -> "OwnState":
        """Return the book and the state before the first event."""
        return OwnState(empty_book(), np.zeros(self.size))

    def entry(self) -> FeatureEntry:
        """Return its line in the catalogue."""
        memory = self.memory_ns or 0
        return FeatureEntry(
            self.name,
            self.unit,
            self.formula,
            self.reference,
            self.warmup_ns,
            memory,
            False,
            family=OWN,
            key=self.name,
            price_power=None,
            lots_power=None,
            joins="phase",
            may_be_unknown=True,
        )

    def step(self, state: Any, events: EventArray) -> tuple[Any, Float64]:
        """Fold a batch of events, changing the state in place, and return one value an event."""
        book, values = state
        batch = events.copy() if not (events.flags.writeable and events.flags.c_contiguous) else events
        out = np.empty(len(batch))
        _fold_own(self.compiled, values, book.price, book.size, book.count, book.counters, batch, out)
        return state, out


@dataclass(frozen=True, slots=True)
class OwnColumns:
    """The features of one's own that the settings put in the rows, in column order, with the hash of their files.

    Attributes
    ----------
    features : tuple of OwnKernel
    sha256 : tuple of str
        Of each file's bytes: what the file imports from elsewhere is not covered, so a file is best on its own.
    """

    features: tuple[OwnKernel, ...]
    sha256: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(feature.name for feature in self.features)

    def init(self) -> tuple[OwnState, ...]:
        """Return the states before the first event."""
        return tuple(feature.init() for feature in self.features)

    def step(self, states: tuple[OwnState, ...], events: EventArray) -> Float64:
        """Fold a batch of events, changing the states in place, and return float64 values of shape (n, features)."""
        out = np.empty((len(events), len(self.features)))
        for k, (feature, state) in enumerate(zip(self.features, states, strict=True)):
            out[:, k] = feature.step(state, events)[1]
        return out


def copy_own(states: tuple[OwnState, ...]) -> tuple[OwnState, ...]:
    """Return a checkpoint: copies that share no memory with the states."""
    return tuple(OwnState(copy_book(state.book), state.values.copy()) for state in states)


def load_columns(paths: Sequence[Path], taken: Sequence[str]) -> OwnColumns:
    """Return the features that files give as columns of the rows.

    Parameters
    ----------
    taken : sequence of str
        Names that other columns have.

    Raises
    ------
    OwnFeatureError
        If a file gives no feature, gives a fold and not a kernel, does not say its memory, or its name is taken; the message
        names the file and what to do.
    """
    features: list[OwnKernel] = []
    hashes: list[str] = []
    for path in paths:
        if not path.is_file():
            raise OwnFeatureError(f"{path}: no such file")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        feature = _loaded(path.resolve(), digest)
        if not isinstance(feature, OwnKernel):
            raise OwnFeatureError(
                f"{path}: only an OwnKernel becomes a column: a fold may look ahead and keep what it likes"
            )
        if feature.memory_ns is None or feature.memory_ns < 0:
            raise OwnFeatureError(
                f"{path}: {feature.name} must say memory_ns, how far back it reaches: rows are purged by it"
            )
        if feature.name in (*taken, *(other.name for other in features)) or not feature.name.isidentifier():
            raise OwnFeatureError(f"{path}: {feature.name!r} is no new column name")
        features.append(feature)
        hashes.append(digest)
    return OwnColumns(tuple(features), tuple(hashes))


@cache
def _loaded(path: Path, sha256: str) -> OwnFeature:
    """Return the feature of a file with these bytes: compiled once a process."""
    return load_own(path)


def load_own(path: Path) -> OwnFeature:
    """Return the feature that a file gives as ``FEATURE``.

    Raises
    ------
    OwnFeatureError
        If the file cannot be read or run, or gives no feature.
    """
    if not path.is_file():
        raise OwnFeatureError(f"{path}: no such file")
    module_spec = importlib.util.spec_from_file_location(f"own_feature_{path.stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise OwnFeatureError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's file raises
        raise OwnFeatureError(f"{path}: {type(error).__name__}: {error}") from error
    feature = getattr(module, "FEATURE", None)
    if not isinstance(feature, OwnFeature):
        raise OwnFeatureError(f"{path}: FEATURE must have name, unit, formula, init() and step(state, events)")
    return feature


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found first.

    Attributes
    ----------
    feature : str
    law : str
        ``look-ahead``, ``chunks``, ``finite`` or ``shape``.
    row : int
        The first offending row, counted from 0.
    text : str
        What happened there.
    """

    feature: str
    law: str
    row: int
    text: str


def _differs(one: Float64, other: Float64) -> npt.NDArray[np.bool_]:
    return (one != other) & ~(np.isnan(one) & np.isnan(other))


def _whole(feature: OwnFeature, events: EventArray) -> Float64:
    return np.asarray(feature.step(feature.init(), events.copy())[1], np.float64)


def check_own(feature: OwnFeature, events: EventArray) -> list[Finding]:
    """Return the first offence of a feature against each law; none: it keeps them on these events.

    Its values over the whole array are compared with those of a fold that is handed one event at a time and so cannot look
    ahead. Where they part, the events after that row are cut off: if that changes the row's value the feature looks ahead, else
    its value depends on how the stream was cut. Later rows are also altered, which must change nothing earlier.
    """
    whole = _whole(feature, events)
    if whole.shape != (len(events),):
        return [Finding(feature.name, "shape", 0, f"{whole.shape} values for {len(events)} events")]
    found = []
    infinite = np.flatnonzero(np.isinf(whole))
    if len(infinite):
        found.append(Finding(feature.name, "finite", int(infinite[0]), f"the value is {whole[infinite[0]]}"))
    state, single = feature.init(), np.empty(len(events))
    for k in range(len(events)):
        state, value = feature.step(state, events[k : k + 1].copy())
        single[k] = np.asarray(value, np.float64)[0]
    apart = np.flatnonzero(_differs(whole, single))
    if len(apart):
        row = int(apart[0])
        cut = _whole(feature, events[: row + 1])[row]
        if _differs(np.array([cut]), whole[row : row + 1])[0]:
            text = f"{whole[row]:g} with the later rows, {cut:g} without them"
            found.append(Finding(feature.name, "look-ahead", row, text))
        else:
            text = f"{whole[row]:g} in one batch, {single[row]:g} one event at a time"
            found.append(Finding(feature.name, "chunks", row, text))
    for middle in (len(events) // 3, 2 * len(events) // 3):
        other = events.copy()
        other["size_lots"][middle:] += 3
        other["price_units"][middle:] += 10
        changed = np.flatnonzero(_differs(_whole(feature, other)[:middle], whole[:middle]))
        if len(changed) and not any(finding.law == "look-ahead" for finding in found):
            row = int(changed[0])
            found.append(Finding(feature.name, "look-ahead", row, f"rows from {middle} on were altered and changed it"))
    return found


def check_catalogue(
    pipeline: "FeaturePipeline", entries: tuple[FeatureEntry, ...], events: EventArray
) -> list[Finding]:
    """Return the first offence of each catalogue column on these events: cut anywhere, later rows altered, finite."""
    whole = pipeline.step(pipeline.init(), events)[1]
    state, parts = pipeline.init(), []
    for start in range(0, len(events), 101):
        state, rows = pipeline.step(state, events[start : start + 101])
        parts.append(rows.values)
    middle = len(events) // 2
    kept = len(pipeline.step(pipeline.init(), events[:middle])[1].keys)
    other = events.copy()
    other["size_lots"][middle:] += 3
    other["price_units"][middle:] += 10
    tables = (
        ("chunks", _differs(np.concatenate(parts), whole.values)),
        ("look-ahead", _differs(pipeline.step(pipeline.init(), other)[1].values[:kept], whole.values[:kept])),
        ("finite", np.isinf(whole.values)),
    )
    found = []
    for law, bad in tables:
        for k in np.flatnonzero(bad.any(axis=0)):
            row = int(np.flatnonzero(bad[:, k])[0])
            found.append(Finding(entries[k].name, law, row, f"the value is {whole.values[row, k]:g} in one pass"))
    return found
