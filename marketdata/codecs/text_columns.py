"""Comma-separated text with decimal numbers as exact integers: what vendors' files of quotes and trades have in common."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from marketdata.codecs.exact import EXACT, PROBLEMS, decimals_to_units
from marketdata.codecs.tables import UNREADABLE, SourceError, open_bytes

Int64 = npt.NDArray[np.int64]

LARGEST: Final = 2.0**62
"""Numbers beyond this are no price and no size of anything."""


def read_text_table(data: bytes, origin: object, columns: Sequence[str] | None) -> pl.DataFrame:
    """Return a table of texts; ``columns`` names those of a file without a header, None: the first line does.

    Raises
    ------
    SourceError
        If rows have another number of fields.
    """
    if not data.strip():
        raise SourceError(origin, "the file is empty")
    try:
        if columns is None:
            return pl.read_csv(data, infer_schema=False)
        return pl.read_csv(data, has_header=False, schema=dict.fromkeys(columns, pl.String()), infer_schema=False)
    except pl.exceptions.PolarsError as error:
        for row, line in enumerate(data.splitlines(), start=1):
            expected = len(columns) if columns is not None else data.split(b"\n", 1)[0].count(b",") + 1
            if line.count(b",") + 1 != expected:
                raise SourceError(origin, f"has {line.count(b',') + 1} fields, expected {expected}", row=row) from error
        raise SourceError(origin, f"cannot be parsed as a comma-separated table: {error}") from error


def exact_column(
    table: pl.DataFrame,
    name: str,
    grid: Sequence[int] | Int64,
    origin: object,
    rows: int | Int64 = 1,
    *,
    empty: bool = False,
) -> Int64:
    """Return a column of decimal texts as whole units of a grid; ``empty``: a cell may be empty and is 0 then.

    ``rows`` is the number of the first row, or those of all rows.

    Raises
    ------
    SourceError
        Naming the first row whose text is missing, no number, or off the grid.
    """
    column = table.get_column(name)
    if not empty:
        missing = column.is_null() | (column == "")
        if missing.any():
            raise SourceError(origin, "is empty", row=_row(rows, int(missing.arg_true()[0])), field=name)
    column = column.fill_null("")
    text = column.to_arrow().cast(pa.large_string())
    _, offsets, joined = text.buffers()
    places = np.frombuffer(offsets, np.int64)[text.offset : text.offset + len(text) + 1]
    data = np.frombuffer(joined, np.uint8) if joined is not None else np.zeros(0, np.uint8)
    out = np.empty(len(column), np.int64)
    num, den, digits = (int(part) for part in grid)
    bad, outcome = decimals_to_units(data, places, num, den, digits, out)
    if outcome != EXACT:
        raise SourceError(origin, f"{column[bad]!r} {PROBLEMS[outcome]}", row=_row(rows, bad), field=name)
    return out


def _row(rows: int | Int64, place: int) -> int:
    return rows + place if isinstance(rows, int) else int(rows[place])


def whole_column(table: pl.DataFrame, name: str, origin: object, rows: int | Int64 = 1) -> Int64:
    """Return a column of whole numbers.

    Raises
    ------
    SourceError
        Naming the first row whose text is none.
    """
    column = table.get_column(name)
    numbers = column.cast(pl.Int64, strict=False)
    if numbers.null_count():
        row = int(numbers.is_null().arg_true()[0])
        raise SourceError(origin, f"{column[row]!r} is not an integer", row=_row(rows, row), field=name)
    return numbers.to_numpy()


def nearest_integers(
    values: npt.NDArray[np.float64], origin: object, field: str, rows: int | Int64 = 1
) -> npt.NDArray[np.int64]:
    """Return floats rounded to the nearest integer.

    Raises
    ------
    SourceError
        Naming the first row that is not a number, infinite, or too large to hold.
    """
    good = np.abs(values) < LARGEST  # not of NaN
    if not good.all():
        row = int(np.argmin(good))
        raise SourceError(origin, f"{values[row]} is no number that can be held", row=_row(rows, row), field=field)
    return np.rint(values).astype(np.int64)


def iter_blocks(path: Path, size: int) -> Iterator[tuple[str, bytes]]:
    """Yield (header, whole lines) of a comma-separated file (plain or gzip), about ``size`` bytes at a time.

    Raises
    ------
    SourceError
        If the file cannot be read or is cut off.
    """
    try:
        with open_bytes(path) as stream:
            header = stream.readline().decode("utf-8", "replace").strip().lstrip("\ufeff")
            rest = b""
            while chunk := stream.read(size):
                joined = rest + chunk
                cut = joined.rfind(b"\n") + 1
                if cut:
                    yield header, joined[:cut]
                rest = joined[cut:]
            if rest.strip():
                yield header, rest
    except UNREADABLE as error:
        raise SourceError(path, f"cannot be read: {error}") from error
