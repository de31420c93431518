"""Recordings into a data root: settings made or grown, inputs decoded once, partitions published by the night's own job."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from filelock import FileLock, Timeout

from marketdata.clock import NS_PER_MS, Calendar, Session
from marketdata.instruments import Instrument
from marketdata.partitions import Manifest, PartitionMissing, read_manifest, read_quarantined
from marketdata.paths import DataRoot, PartitionKey
from marketdata.recording_manifest import RecordingManifest
from marketdata.settings import Settings, SettingsError, save_settings
from orchestration.initialise import LOCK_TIMEOUT_S, initialise
from orchestration.progress import Progress, silent

if TYPE_CHECKING:  # the codecs would make every command of the command line slow
    from marketdata.ingest import PlannedInput

TICK_ASSETS: Final = ("raw_ticks", "events")


@dataclass(frozen=True)
class IngestOptions:
    """How recordings are read.

    Attributes
    ----------
    layout, venue : str, optional
        In place of what the files say themselves.
    symbols : tuple of str
        The venue's symbols to take; none: all.
    calendar : Calendar, optional
        In place of the layout's own.
    instruments : mapping
        Venue's symbol → instrument, in place of the grid that the numbers show.
    base_latency_ns : int
        Declared least latency of the recorder.
    again : bool
        Decode and publish again what is there.
    """

    layout: str | None = None
    venue: str | None = None
    symbols: tuple[str, ...] = ()
    calendar: Calendar | None = None
    instruments: Mapping[str, Instrument] = field(default_factory=dict)
    base_latency_ns: int = NS_PER_MS // 10
    again: bool = False


@dataclass(frozen=True)
class IngestResult:
    """What an ingest came to.

    Attributes
    ----------
    recordings : tuple of RecordingManifest
        Of every input that was asked for.
    decoded : int
        How many of them were new.
    partitions : tuple of (Session, str)
        Sessions and instruments that they tell of.
    published : int
        How many of these were made or made again.
    failures : tuple of str
    warnings : tuple of str
    """

    recordings: tuple[RecordingManifest, ...]
    decoded: int
    partitions: tuple[tuple[Session, str], ...]
    published: int
    failures: tuple[str, ...]
    warnings: tuple[str, ...]


def ingest_recordings(
    root: DataRoot, paths: Sequence[Path], options: IngestOptions, progress: Progress = silent
) -> IngestResult:
    """Decode recordings into a root, made if it is not there, and publish what they tell of.

    Raises
    ------
    UnknownRecording
        If a file is none, or is broken.
    SettingsError
        If the root is of another source or calendar, no instrument is left, or another ingest does not let go of the root.
    """
    from marketdata.ingest import decode_inputs, find_inputs, plan, spanned

    inputs = find_inputs(paths, options.layout, options.venue)
    planned = plan(root, inputs, progress)
    with _locked(root, progress):
        settings, symbols, is_new = _prepared(root, planned, options, progress)
        save_settings(settings, root.settings_file)
        decoding = decode_inputs(
            root,
            settings,
            planned,
            symbols,
            base_latency_ns=options.base_latency_ns,
            again=options.again,
            progress=progress,
        )
        settings = _grown(root, settings, decoding.manifests, is_new)
        save_settings(settings, root.settings_file)
    initialise(root)
    calendar = settings.market_calendar()
    partitions = tuple((calendar.session(day), symbol) for day, symbol in spanned(decoding.manifests))
    due = [(s.date, symbol) for s, symbol in partitions if options.again or _is_due(root, settings, s.date, symbol)]
    failures = _publish(root, due, progress)
    return IngestResult(
        tuple(decoding.manifests), len(decoding.new), partitions, len(due), failures, _warnings(settings)
    )


@contextmanager
def _locked(root: DataRoot, progress: Progress) -> Iterator[None]:
    """Hold the root against other ingests; say so while one of them is waited for."""
    root.path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root.path / ".ingest.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress("wait for another ingest of this root", 0, 1)
        try:
            lock.acquire(timeout=LOCK_TIMEOUT_S)
        except Timeout:
            raise SettingsError(
                f"{root.path}: another ingest has held this data root for {LOCK_TIMEOUT_S:.0f} s; wait for it or end it"
            ) from None
        progress("wait for another ingest of this root", 1, 1)
    try:
        yield
    finally:
        lock.release()


def _prepared(
    root: DataRoot, planned: "Sequence[PlannedInput]", options: IngestOptions, progress: Progress
) -> tuple[Settings, dict[str, dict[str, Instrument]], bool]:
    """Return the settings with new inputs' instruments, these by venue and symbol, and whether the root is new."""
    from marketdata.ingest import instruments_of
    from marketdata.recorded_settings import calendar_for, new_settings, numbered, require_calendar, require_recorded

    waiting = [item for item in planned if options.again or not item.is_done]
    asked = {symbol.upper() for symbol in options.symbols}
    found: dict[str, dict[str, Instrument]] = {}
    for k, item in enumerate(waiting):
        progress("find instruments", k, len(waiting))
        for symbol, instrument in instruments_of(item.given, options.instruments, options.symbols).items():
            if not asked or symbol.upper() in asked:
                found.setdefault(item.given.venue, {}).setdefault(symbol, instrument)
    if waiting:
        progress("find instruments", len(waiting), len(waiting))
    every = [instrument for by_symbol in found.values() for instrument in by_symbol.values()]
    is_new = not root.settings_file.exists()
    first = planned[0].given
    calendar = options.calendar or calendar_for(first.layout)
    for item in planned:
        own = options.calendar or calendar_for(item.given.layout)
        if own != calendar:
            raise SettingsError(
                f"{item.given.paths[0]}: sessions of {own.name} ({own.time_zone}), and of {calendar.name} for "
                f"{first.paths[0].name}: ingest them into two roots, or say --calendar"
            )
    if is_new:
        if not every:
            raise SettingsError(
                f"{first.paths[0]}: "
                + (f"none of {', '.join(options.symbols)} is in it" if asked else "no instrument is told of in it")
            )
        settings = new_settings(calendar, every, first.start_ns)
    else:
        settings = root.settings()
        require_recorded(settings, root.settings_file)
        require_calendar(settings, calendar, first.paths[0])
        settings = settings.model_copy(update={"instruments": numbered(settings.instruments, every)})
    symbols = {
        venue: {symbol: settings.instrument(item.symbol) for symbol, item in by_symbol.items()}
        for venue, by_symbol in found.items()
    }
    return settings, symbols, is_new


def _grown(root: DataRoot, settings: Settings, manifests: Sequence[RecordingManifest], is_new: bool) -> Settings:
    """Return settings that span what was decoded; those of a new root suited to its rows and prices."""
    from marketdata.ingest import spanned
    from marketdata.recorded import first_price
    from marketdata.recorded_settings import spanning, suited

    places = spanned(manifests)
    if not places:
        return settings
    if is_new:
        rows: dict[tuple[str, str], int] = {}
        for manifest in manifests:
            for symbol, sessions in manifest.parts.items():
                for day, facts in sessions.items():
                    rows[symbol, day] = rows.get((symbol, day), 0) + facts.rows
        prices = {item.symbol: first_price(root, manifests, item) for item in settings.instruments}
        settings = suited(settings, max(rows.values()), {name: price for name, price in prices.items() if price})
        days = [day for day, _ in places]
        settings = settings.model_copy(update={"start_date": min(days), "sessions": 1})
    return spanning(settings, [day for day, _ in places])


def _is_due(root: DataRoot, settings: Settings, day: date, symbol: str) -> bool:
    """Whether the partitions of a session were not made of the recordings that there are now."""
    from marketdata.recorded import RecordedSource

    _, facts = RecordedSource(settings, root).findings(day, symbol)
    raw, is_refused = _manifest(root, PartitionKey("raw_ticks", day, symbol))
    if raw is None or raw.extra.get("recordings") != facts.get("recordings"):
        return True
    if is_refused:
        return False
    events, _ = _manifest(root, PartitionKey("events", day, symbol))
    return events is None or events.extra.get("parent_raw_ticks") != raw.data_sha256


def _manifest(root: DataRoot, key: PartitionKey) -> tuple[Manifest | None, bool]:
    """Return the manifest of a partition, and whether it is in quarantine."""
    try:
        return read_quarantined(root, key), True
    except PartitionMissing:
        pass
    try:
        return read_manifest(root, key), False
    except PartitionMissing:
        return None, False


def _publish(root: DataRoot, due: Sequence[tuple[date, str]], progress: Progress) -> tuple[str, ...]:
    """Make raw ticks and events of some partitions by the night's job; return what failed."""
    if not due:
        return ()
    from orchestration.night import driving

    with driving(root, progress, training=False) as driver:
        driver.partitions(due, TICK_ASSETS)
        return tuple(str(failure) for failure in driver.failures)


def _warnings(settings: Settings) -> tuple[str, ...]:
    found = []
    for item in settings.instruments:
        exact = item.price_decimals * item.lot_size * 1e9
        if abs(item.unit_nanos - exact) > 1e-6 * max(exact, 1e-12):
            found.append(
                f"{item.symbol}: a price unit of one lot is worth {exact:g} nano, less than the ledger counts in: give the "
                "instrument a larger lot in settings.toml before it is traded"
            )
    return tuple(found)
