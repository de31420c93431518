"""Binance's public archive (data.binance.vision): daily and monthly zip files of trades, aggregate trades and best quotes.

Each zip holds one CSV file of its own name and has a ``.CHECKSUM`` beside it, which is held against its bytes where it is
there. Futures files have a header, spot files none; spot times are microseconds from 2025 on, milliseconds before. There is no
receive time. A symbol's trades (``trades``, or ``aggTrades`` where only they are there) and best quotes (``bookTicker``) of one
day or month are read together and merged by exchange time, quotes first: which came first within a millisecond is not recorded.

``bookDepth`` holds depth by bands of per cent around the price, which are no levels of a book: it cannot become events and is
refused with that reason.

https://github.com/binance/binance-public-data
"""

import hashlib
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from marketdata.archives import RecordingInput, UnknownRecording
from marketdata.clock import NS_PER_MS, NS_PER_US
from marketdata.codecs.decimals import inferred_instrument
from marketdata.codecs.tables import UNREADABLE_ZIP
from marketdata.events import ASK, BID, F_LAST, QUOTE, TRADE, EventArray, empty_events
from marketdata.frames import Decoded
from marketdata.instruments import BookKind, Instrument

NAME: Final = re.compile(
    r"(?P<symbol>[A-Z0-9_]+)-(?P<kind>aggTrades|trades|bookTicker|bookDepth|[0-9a-zA-Z]+)-(?P<date>\d{4}-\d{2}(-\d{2})?)\.zip$"
)
_MARKETS: Final = {"spot": "binance_spot", "um": "binance_usdm", "cm": "binance_coinm"}
_COLUMNS: Final = {
    "trades": (("id", "price", "size", "", "time", "maker"), {"qty": "size", "is_buyer_maker": "maker"}),
    "aggTrades": (
        ("id", "price", "size", "", "", "time", "maker"),
        {"agg_trade_id": "id", "quantity": "size", "transact_time": "time", "is_buyer_maker": "maker"},
    ),
    "bookTicker": (
        ("id", "bid", "bid_size", "ask", "ask_size", "time"),
        {
            "update_id": "id",
            "best_bid_price": "bid",
            "best_bid_qty": "bid_size",
            "best_ask_price": "ask",
            "best_ask_qty": "ask_size",
            "transaction_time": "time",
        },
    ),
}
"""Columns by position where there is no header, and our names for those of a header."""
_NEEDED: Final = {
    "trades": ("id", "price", "size", "time", "maker"),
    "aggTrades": ("id", "price", "size", "time", "maker"),
    "bookTicker": ("id", "bid", "bid_size", "ask", "ask_size", "time"),
}
_PLACES: Final = 10
"""Decimal digits that prices and sizes are held in while the grid is sought."""
_MICROSECONDS: Final = 10**14
"""Times from here on are microseconds: as milliseconds they would lie beyond the year 5000."""
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Table:
    """One CSV file: its numbers in units of 1e-10, times in ns."""

    kind: str
    columns: dict[str, Int64]


class BinanceArchiveLayout:
    """Zip files of the public archive."""

    def find(self, paths: Sequence[Path], venue: str | None) -> list[RecordingInput]:
        """Return an input for each symbol and period; the market is ``venue`` or told by the folders (spot, um, cm)."""
        groups: dict[tuple[str, str, str], list[Path]] = {}
        for path in paths:
            match = NAME.match(path.name)
            if match is None or match["kind"] not in (*_COLUMNS, "bookDepth"):
                continue
            if match["kind"] == "bookDepth":
                raise UnknownRecording(
                    f"{path}: bookDepth holds depth by bands of per cent, no book levels: no events can be made of it"
                )
            market = venue or next((_MARKETS[part] for part in path.parts if part in _MARKETS), None)
            if market is None:
                raise UnknownRecording(
                    f"{path}: of which market? keep the archive's folders (spot, futures/um, futures/cm) or say "
                    f"--venue {' | '.join(_MARKETS.values())}"
                )
            groups.setdefault((market, match["symbol"], match["date"]), []).append(path)
        found = []
        for (market, symbol, period), members in sorted(groups.items()):
            kinds = [_kind(path) for path in members]
            if len(set(kinds)) < len(kinds):
                raise UnknownRecording(f"{members[-1]}: the same table is given twice, also as {members[0]}")
            twice = {"trades", "aggTrades"} <= set(kinds)  # the same trades, the second time summed up
            covers = tuple(path for path in members if twice and _kind(path) == "aggTrades")
            members = [path for path in members if path not in covers]
            for path in members:
                check_sum(path)
            start = int(np.datetime64(f"{period}-01" if len(period) == 7 else period, "ns").astype(np.int64))
            series = f"{market}/{symbol}/{period}"
            found.append(
                RecordingInput("binance_archive", market, series, tuple(sorted(members)), start, False, covers)
            )
        return found

    def instruments(self, given: RecordingInput, symbols: Sequence[str] = ()) -> dict[str, Instrument]:
        """Return the symbol on the smallest decimal steps of its prices and sizes."""
        symbol = given.series.split("/")[1]
        tables = [_read(path) for path in given.paths]
        prices = [table.columns[name] for table in tables for name in ("price", "bid", "ask") if name in table.columns]
        sizes = [
            table.columns[name]
            for table in tables
            for name in ("size", "bid_size", "ask_size")
            if name in table.columns
        ]
        price, lot = _step(prices), _step(sizes)
        found = inferred_instrument(symbol, 0, given.venue, price, lot)
        has_book = any(table.kind == "bookTicker" for table in tables)
        return {symbol: found.model_copy(update={} if has_book else {"book_kind": BookKind.TRADES_ONLY})}

    def decoded(self, given: RecordingInput, instruments: Mapping[str, Instrument]) -> Iterator[Decoded]:
        """Yield the period's quotes and trades, merged."""
        symbol = given.series.split("/")[1]
        instrument = instruments.get(symbol)
        if instrument is None:
            return
        parts = [self._rows(_read(path), instrument, path) for path in given.paths]
        parts.sort(key=lambda part: int(part["action"][0]) if len(part) else 0, reverse=True)  # QUOTE before TRADE
        joined = np.concatenate(parts)
        yield Decoded(joined[np.argsort(joined["ts_event"], kind="stable")])

    def _rows(self, table: _Table, instrument: Instrument, path: Path) -> EventArray:
        columns = table.columns
        count = len(columns["time"])
        if table.kind == "bookTicker":
            rows = empty_events(2 * count)
            for k, (side, name) in enumerate(((BID, "bid"), (ASK, "ask"))):
                one = rows[k::2]
                one["side"], one["action"] = side, QUOTE
                one["price_units"] = _on_grid(columns[name], instrument.price_decimals, path, name)
                one["size_lots"] = _on_grid(columns[f"{name}_size"], instrument.lot_size, path, f"{name}_size")
                one["ts_event"], one["sequence"] = columns["time"], columns["id"]
            rows["flags"][1::2] = F_LAST
        else:
            rows = empty_events(count)
            rows["action"], rows["flags"] = TRADE, F_LAST
            rows["side"] = np.where(columns["maker"] == 1, BID, ASK)
            rows["price_units"] = _on_grid(columns["price"], instrument.price_decimals, path, "price")
            rows["size_lots"] = _on_grid(columns["size"], instrument.lot_size, path, "quantity")
            rows["ts_event"], rows["sequence"] = columns["time"], columns["id"]
        rows["instrument_id"], rows["ts_recv"] = instrument.instrument_id, rows["ts_event"]
        return rows


def check_sum(path: Path) -> None:
    """Hold a zip file against the ``.CHECKSUM`` beside it, where there is one.

    Raises
    ------
    UnknownRecording
        If they do not agree.
    """
    beside = path.with_name(f"{path.name}.CHECKSUM")
    if not beside.exists():
        return
    said = beside.read_text(encoding="utf-8").split()
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not said or said[0].lower() != found:
        raise UnknownRecording(f"{path}: sha256 {found[:16]}… is not that of {beside.name}; download it again")


def _kind(path: Path) -> str:
    match = NAME.match(path.name)
    assert match is not None
    return match["kind"]


def _read(path: Path) -> _Table:
    kind = _kind(path)
    by_place, by_name = _COLUMNS[kind]
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".csv")]
            if len(names) != 1:
                raise UnknownRecording(f"{path}: {len(names)} CSV files in it, not one")
            content = archive.read(names[0])
    except UNREADABLE_ZIP as error:
        raise UnknownRecording(f"{path}: not a readable zip file: {error}") from error
    first = content[: content.find(b"\n")].split(b",")[0]
    has_header = not first.strip().isdigit()
    try:
        frame = pl.read_csv(content, has_header=has_header, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise UnknownRecording(f"{path}: not the CSV file of {kind}: {error}") from error
    if has_header:
        frame = frame.rename({name: by_name.get(name, name) for name in frame.columns})
    else:
        frame = frame.rename(dict(zip(frame.columns, (n or f"_{k}" for k, n in enumerate(by_place)), strict=False)))
    missing = [name for name in _NEEDED[kind] if name not in frame.columns]
    if missing:
        raise UnknownRecording(
            f"{path}: column {missing[0]} of {kind} is missing; there are {', '.join(frame.columns)}"
        )
    return _Table(kind, {name: _numbers(frame[name], name, path) for name in _NEEDED[kind]})


def _numbers(column: pl.Series, name: str, path: Path) -> Int64:
    """Return a column of text as int64: ids and times as they are, prices and sizes in units of 1e-10, flags as 0 and 1."""
    if name == "maker":
        values = column.str.to_lowercase().replace_strict({"true": 1, "false": 0}, default=None, return_dtype=pl.Int64)
    elif name in ("id", "time"):
        values = column.cast(pl.Int64, strict=False)
    else:
        exact = column.cast(pl.Decimal(38, _PLACES), strict=False)
        values = exact.to_physical().cast(pl.Int64, strict=False)
        again = column.str.split(".").list.get(1, null_on_oob=True).fill_null("").str.strip_chars_end("0")
        values = values.to_frame("v").select(pl.when(again.str.len_chars() <= _PLACES).then("v")).to_series()
    bad = values.is_null() | ((values < 0) if name != "id" else pl.repeat(False, len(values), eager=True))
    if bad.any():
        row = int(bad.arg_max() or 0)
        raise UnknownRecording(f"{path}: row {row + 1}, {name}: {column[row]!r} is no such number")
    found = values.to_numpy()
    if name == "time":
        return np.where(found >= _MICROSECONDS, found * NS_PER_US, found * NS_PER_MS)
    return found


def _step(columns: Sequence[Int64]) -> float:
    """Return the largest power of ten of which every number is a multiple, 1 at most."""
    common = int(np.gcd.reduce([int(np.gcd.reduce(column)) for column in columns if len(column)] or [0]))
    places = _PLACES
    while places and common % 10 == 0 and common:
        common //= 10
        places -= 1
    return float(f"1e-{places}") if common else 1.0


def _on_grid(values: Int64, step: float, path: Path, name: str) -> Int64:
    unit = int(Decimal(repr(step)).scaleb(_PLACES))
    found, rest = np.divmod(values, unit)
    if rest.any():
        row = int(np.argmax(rest != 0))
        text = Decimal(int(values[row])).scaleb(-_PLACES).normalize()
        raise UnknownRecording(
            f"{path}: row {row + 1}, {name}: {text:f} is not a multiple of {step}, the instrument's step in this data root"
        )
    return found
