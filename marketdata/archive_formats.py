"""Layouts of archives: files of the formats in ``codecs.formats``, what belongs together among them, and the instruments in them.

A format reads files once instruments are given; here it is found which symbols a file has, and on which grid: stated by the
market (shares in 1/10,000 dollar, Shanghai's cents), or else the largest decimal step of which all its prices and sizes are
multiples.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol
from zipfile import ZipFile

import numpy as np
import polars as pl
import zstandard

from marketdata.archives import RecordingInput, UnknownRecording
from marketdata.binance_archive import BinanceArchiveLayout
from marketdata.codecs import itch_framing, lobster, shanghai
from marketdata.codecs.decimals import inferred_instrument
from marketdata.codecs.formats import FORMATS, Format
from marketdata.codecs.tables import UNREADABLE, UNREADABLE_ZIP, SourceError, read_bytes
from marketdata.events import ADD, DELETE, EXECUTE, LEVEL, QUOTE, REDUCE, EventArray, merge_events
from marketdata.frames import Decoded
from marketdata.instruments import BookKind, Instrument

PROBE: Final = 1e-9
"""Step on which numbers are read while the grid is sought."""
Symbols = Callable[[Path], list[str]]


class ArchiveLayout(Protocol):
    """A layout whose files need no state of a connection: an input can be read on its own."""

    def find(self, paths: Sequence[Path], venue: str | None) -> list[RecordingInput]:
        """Return the inputs among these files."""
        ...

    def instruments(self, given: RecordingInput, symbols: Sequence[str] = ()) -> dict[str, Instrument]:
        """Return an instrument for each symbol of an input (or those given), on its numbers' grid; named and numbered later."""
        ...

    def decoded(self, given: RecordingInput, instruments: Mapping[str, Instrument]) -> Iterator[Decoded]:
        """Yield the events of the instruments asked for, each one's in order; without receive times ``ts_recv`` means nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Market:
    """Where a format's files come from, as far as the format says it.

    Attributes
    ----------
    venue : str
        Part of the instruments' names; another can be said.
    symbols : callable
        Given a file, returns the symbols in it.
    book_kind : BookKind
        Of files with quotes or levels; without any the instrument is trades only.
    price, lot : float or None
        Known steps; None: found from the numbers.
    tick_units : int
        Price units to a tick, where ``price`` is known.
    """

    venue: str
    symbols: Symbols
    book_kind: BookKind = BookKind.MATCHING
    price: float | None = None
    lot: float | None = 1.0
    tick_units: int = 1


def _column(name: str) -> Symbols:
    """Return a reader of the distinct values of a CSV column."""

    def symbols(path: Path) -> list[str]:
        try:
            table = pl.read_csv(read_bytes(path), infer_schema=False, columns=[name])
        except pl.exceptions.PolarsError as error:
            raise UnknownRecording(f"{path}: no table with a column {name}: {error}") from error
        return sorted(str(value).removesuffix(".SH") for value in table[name].unique().drop_nulls())

    return symbols


def _tag_55(path: Path) -> list[str]:
    found = {match.decode(errors="replace") for match in re.findall(rb"\x0155=([^\x01]+)\x01", read_bytes(path))}
    return sorted(found)


def _folder_symbol(path: Path) -> list[str]:
    return [path.parent.name.upper()]


def _lean_symbols(path: Path) -> list[str]:
    """Return the folder's symbol, or for futures the contracts that the archive's members name (``ES_201312``)."""
    try:
        with ZipFile(path) as archive:
            months = {match[1] for name in archive.namelist() if (match := re.search(r"_(\d{6})\.csv$", name))}
    except UNREADABLE_ZIP as error:
        raise UnknownRecording(f"{path}: not a readable zip file: {error}") from error
    symbol = path.parent.name.upper()
    return [f"{symbol}_{month}" for month in sorted(months)] or [symbol]


def _lobster_symbol(path: Path) -> list[str]:
    match = lobster.NAME.match(path.name)
    return [match["symbol"]] if match else []


def _itch_symbols(path: Path) -> list[str]:
    """Return the stocks of an ITCH file's directory and of its orders."""
    found: set[bytes] = set()
    for batch in itch_framing.iter_message_file(path):
        kinds = batch.data[batch.starts[:-1]]
        for kind, at in ((ord("R"), 11), (ord("A"), 24), (ord("F"), 24)):
            first = batch.starts[:-1][kinds == kind]
            if len(first):
                stocks = batch.data[first[:, None] + np.arange(at, at + 8)]
                found |= {row.tobytes().strip() for row in np.unique(stocks, axis=0)}
    return sorted(stock.decode("ascii", "replace") for stock in found)


def _databento_symbols(path: Path) -> list[str]:
    """Return the raw symbols of a DBN file's metadata."""
    try:
        import databento_dbn as dbn
    except ImportError as error:
        raise UnknownRecording(
            f"{path}: DBN files need the package databento-dbn: pip install 'flowsense[databento]'"
        ) from error
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"\x28\xb5\x2f\xfd"
            file.seek(0)
            stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) if zipped else file
            decoder = dbn.DBNDecoder()
            while chunk := stream.read(1 << 20):
                decoder.write(chunk)
                for record in decoder.decode():
                    metadata: Any = record  # the first one is
                    return sorted(metadata.mappings) or sorted(metadata.symbols)
    except (*UNREADABLE, dbn.DBNError) as error:
        raise UnknownRecording(f"{path}: cannot be read: {error}") from error
    raise UnknownRecording(f"{path}: the file ends before its metadata")


def _none(path: Path) -> list[str]:
    raise UnknownRecording(f"{path}: the file does not name its symbols: give them with --symbols")


SHARES: Final = Market("US", _folder_symbol, BookKind.NBBO, 0.0001, 1.0, 100)
MARKETS: Final[Mapping[str, Market]] = {
    "lobster": replace(SHARES, venue="NASDAQ", symbols=_lobster_symbol, book_kind=BookKind.MATCHING),
    "itch50": replace(SHARES, venue="NASDAQ", symbols=_itch_symbols, book_kind=BookKind.MATCHING),
    "itch50_pcap": replace(SHARES, venue="NASDAQ", symbols=_none, book_kind=BookKind.MATCHING),
    "fix": Market("FIX", _tag_55, BookKind.DEALER, lot=None),
    "fix_lenient": Market("FIX", _tag_55, BookKind.DEALER, lot=None),
    "databento": Market("databento", _databento_symbols),
    "tardis": Market("tardis", _column("symbol"), lot=None),
    "shanghai": Market("SSE", _column("SecurityID"), BookKind.MATCHING, 0.01, 1.0),
    "shanghai_snapshots": Market("SSE", _column("SecurityID"), BookKind.MATCHING, 0.01, 1.0),
    "b3": Market("B3", _column("symbol"), BookKind.NBBO, 0.01, 1.0),
    "lean_equity": SHARES,
    "lean": Market("LEAN", _lean_symbols, BookKind.DEALER, lot=0.0001),
}
"""What is known of the market behind each format."""


def _single(paths: Sequence[Path]) -> list[tuple[Path, ...]]:
    return [(path,) for path in paths]


def _shanghai_pairs(paths: Sequence[Path]) -> list[tuple[Path, ...]]:
    pairs = {}
    for path in paths:
        for pair in shanghai.find_pairs(path):
            pairs[pair.orders] = (pair.orders, pair.trades)
    return list(pairs.values())


def _by_day(paths: Sequence[Path]) -> list[tuple[Path, ...]]:
    """Put quote and trade archives of one symbol and day together; the reader takes either for both."""
    days: dict[tuple[Path, str], list[Path]] = {}
    for path in paths:
        days.setdefault((path.parent, path.name[:8]), []).append(path)
    return [tuple(sorted(members)) for members in days.values()]


_TARDIS_NAME: Final = re.compile(
    r"(?P<exchange>[^_/]+)_(?P<kind>incremental_book_L2|book_snapshot_\d+|trades|quotes)_((?P<day>\d{4}-\d{2}-\d{2})_)?"
    r"(?P<symbol>.+)\.csv(\.gz)?$"
)
_TARDIS_BOOKS: Final = ("incremental_book_L2", "book_snapshot_25", "book_snapshot_5", "quotes")
"""Tables of one instrument's book, the best first: only one of them is read."""


def _tardis_groups(paths: Sequence[Path]) -> list[tuple[Path, ...]]:
    """Put the trades and the best table of the book of one exchange, symbol and day together."""
    groups: dict[tuple[str, str, str], dict[str, Path]] = {}
    for path in paths:
        match = _TARDIS_NAME.match(path.name)
        if match is not None:
            groups.setdefault((match["exchange"], match["symbol"], match["day"] or ""), {})[match["kind"]] = path
    found = []
    for members in groups.values():
        book = next((members[kind] for kind in _TARDIS_BOOKS if kind in members), None)
        found.append(tuple(path for path in (book, members.get("trades")) if path is not None))
    return found


_GROUPS: Final[Mapping[str, Callable[[Sequence[Path]], list[tuple[Path, ...]]]]] = {
    "shanghai": _shanghai_pairs,
    "lean_equity": _by_day,
    "lean": _by_day,
    "tardis": _tardis_groups,
}
_NAMES_SAY_NOTHING: Final = frozenset({"fix", "fix_lenient", "itch50_pcap", "databento"})
"""Formats that take neither day nor symbol from a file's name: whoever says ``--format`` may call the file what they like."""
_READ_EACH: Final = frozenset({"tardis"})
"""Formats whose files of one input are read one by one and merged; of the others one file stands for all."""


@dataclass(frozen=True)
class FormatLayout:
    """The layout of a format of ``codecs.formats``."""

    name: str

    @property
    def _format(self) -> Format:
        return FORMATS[self.name]

    def find(self, paths: Sequence[Path], venue: str | None, *, is_asked_for: bool = False) -> list[RecordingInput]:
        """Return the inputs among files that the format claims; ``is_asked_for``: the user said the format."""
        takes_all = is_asked_for and self.name in _NAMES_SAY_NOTHING
        claimed = [path for path in paths if takes_all or self._format.claims(path)]
        if self.name == "lobster":
            return self._lobster(paths, venue)
        found = []
        market = venue or MARKETS[self.name].venue
        for group in _GROUPS.get(self.name, _single)(claimed):
            series = f"{self.name}/{market}/{group[0]}"
            found.append(RecordingInput(self.name, market, series, group, 0, self._format.has_receive_time))
        read = {path for given in found for path in given.paths}
        rest = tuple(path for path in claimed if path not in read)
        return [replace(found[0], covers=rest), *found[1:]] if found and rest else found

    def _lobster(self, paths: Sequence[Path], venue: str | None) -> list[RecordingInput]:
        """Return the deepest files of each symbol and day; message files without a book beside them stand alone."""
        pattern = re.compile(r"([A-Z.]+)_(\d{4}-\d{2}-\d{2})_.*(message|orderbook)_\d+.*\.csv(\.gz)?")
        own = [path for path in paths if pattern.fullmatch(path.name)]
        market = venue or MARKETS["lobster"].venue
        found = []
        for file in lobster.find_files(sorted({path.parent for path in own})):
            same = [
                p for p in own if p.name.startswith(f"{file.symbol}_{file.day}_") and p.parent == file.messages.parent
            ]
            read = (file.messages, file.books)
            if same:
                rest = tuple(path for path in same if path not in read)
                series = f"lobster/{market}/{file.messages}"
                found.append(RecordingInput("lobster", market, series, read, 0, False, rest))
        taken = {path for given in found for path in (*given.paths, *given.covers)}
        for path in own:
            if path not in taken and self._format.claims(path) and lobster.NAME.match(path.name):
                found.append(RecordingInput("lobster", market, f"lobster/{market}/{path}", (path,), 0, False))
        return found

    def instruments(self, given: RecordingInput, symbols: Sequence[str] = ()) -> dict[str, Instrument]:
        """Return an instrument for each symbol; ``symbols`` names them where the file does not."""
        market = MARKETS[given.layout]
        try:
            names = list(symbols) or list(dict.fromkeys(s for path in given.paths for s in market.symbols(path)))
            if market.price is not None:
                step, lot = market.price, market.lot or 1.0
                found = {name: inferred_instrument(name, 0, given.venue, step, lot) for name in names}
                found = {
                    name: item.model_copy(update={"tick_units": market.tick_units}) for name, item in found.items()
                }
                quotes = self.name != "lean_equity" or any("_quote" in path.name for path in given.paths)
                kind = market.book_kind if quotes else BookKind.TRADES_ONLY
                return {name: item.model_copy(update={"book_kind": kind}) for name, item in found.items()}
            return self._probed(given, names, market)
        except SourceError as error:
            raise UnknownRecording(str(error)) from error

    def _probed(self, given: RecordingInput, names: Sequence[str], market: Market) -> dict[str, Instrument]:
        lot = market.lot or PROBE
        probes = {
            name: Instrument(
                symbol=f"S{k}",
                instrument_id=k,
                venue=given.venue,
                unit_nanos=1,
                price_decimals=PROBE,
                lot_size=lot,
                book_kind=market.book_kind,
            )
            for k, name in enumerate(names)
        }
        prices, sizes = np.zeros(len(names), np.int64), np.zeros(len(names), np.int64)
        quoted = np.zeros(len(names), np.bool_)
        refused: list[str] = []
        for decoded in self.decoded(given, probes):
            refused += [item.reason for item in decoded.rejected]
            for number in np.unique(decoded.events["instrument_id"]):
                rows = decoded.events[decoded.events["instrument_id"] == number]
                prices[number] = np.gcd(prices[number], np.gcd.reduce(rows["price_units"]))
                sizes[number] = np.gcd(sizes[number], np.gcd.reduce(rows["size_lots"]))
                quoted[number] |= bool(np.isin(rows["action"], (ADD, REDUCE, DELETE, EXECUTE, LEVEL, QUOTE)).any())
        found = {}
        for k, name in enumerate(names):
            if prices[k] == 0:
                continue  # named, and nothing told of it
            price = _decimal_step(int(prices[k]))
            size = lot if market.lot is not None else _decimal_step(int(sizes[k]))
            made = inferred_instrument(name, 0, given.venue, price, size)
            kind = market.book_kind if quoted[k] else BookKind.TRADES_ONLY
            found[name] = made.model_copy(update={"book_kind": kind})
        if refused and not found:
            lenient = "; --format fix_lenient takes and counts them" if self.name == "fix" else ""
            raise UnknownRecording(
                f"{given.paths[0]}: nothing in it can be read, {len(refused)} refused, the first: {refused[0]}{lenient}"
            )
        return found

    def decoded(self, given: RecordingInput, instruments: Mapping[str, Instrument]) -> Iterator[Decoded]:
        """Yield the input's events; several tables of one instrument come merged by receive time."""
        if given.layout not in _READ_EACH or len(given.paths) == 1:
            yield from self._format.read(given.paths[0], instruments)
            return
        whole = [list(self._format.read(path, instruments)) for path in given.paths]
        events = np.concatenate([decoded.events for part in whole for decoded in part])
        order = np.argsort(events["ts_recv"], kind="stable")  # the rows of a group have one receive time
        every = [decoded for part in whole for decoded in part]
        ignored: dict[str, int] = {}
        for decoded in every:
            for kind, count in decoded.ignored.items():
                ignored[kind] = ignored.get(kind, 0) + count
        gaps = tuple(gap for decoded in every for gap in decoded.gaps)
        rejected = tuple(item for decoded in every for item in decoded.rejected)
        yield Decoded(events[order], gaps, rejected, ignored=ignored)


def _decimal_step(common: int) -> float:
    """Return the largest power of ten, 1 at most, that divides a number of probe steps."""
    places = 9
    while places and common and common % 10 == 0:
        common //= 10
        places -= 1
    return float(f"1e-{places}") if common else 1.0


ARCHIVE_LAYOUTS: Final[Mapping[str, ArchiveLayout]] = {
    "binance_archive": BinanceArchiveLayout(),
    **{name: FormatLayout(name) for name in FORMATS if name in MARKETS},
}
"""Layouts whose inputs need no state of a connection, by name; formats of ``codecs.formats`` behind those of their own."""


def recorded_events(given: RecordingInput, instruments: Mapping[str, Instrument]) -> EventArray:
    """Return the events of an archive's input, of all instruments together and in the order received.

    Without recorded receive times ``ts_recv`` is ``ts_event``, or the latest before it where that went back.
    """
    decoded = ARCHIVE_LAYOUTS[given.layout].decoded(given, instruments)
    by_number: dict[int, list[EventArray]] = {}
    for part in decoded:
        for number in np.unique(part.events["instrument_id"]).tolist():
            by_number.setdefault(number, []).append(part.events[part.events["instrument_id"] == number])
    each = [np.concatenate(parts) for parts in by_number.values()]
    if not given.has_receive_time:
        for events in each:
            events["ts_recv"] = np.maximum.accumulate(events["ts_event"])
    return merge_events(each)
