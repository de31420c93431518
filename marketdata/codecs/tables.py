"""Read text tables strictly: one clear error that names the file, the row and the field, or the whole table."""

import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Collection, Mapping
from math import isfinite
from pathlib import Path
from typing import IO, Final, cast

import polars as pl
import zstandard


class SourceError(ValueError):
    """Recorded data is missing or malformed; the message is one line that names file, row and field.

    Attributes
    ----------
    file : str
        Path of the file, with the member's name for archives.
    row : int or None
        Row of the table, from 1, the header not counted.
    field : str or None
        Column.
    """

    def __init__(self, file: object, problem: str, *, row: int | None = None, field: str | None = None) -> None:
        self.file = str(file)
        self.row = row
        self.field = field
        place = self.file
        if row is not None:
            place += f": row {row}"
        if field is not None:
            place += f"{',' if row is not None else ':'} field {field}"
        super().__init__(f"{place}: {problem}")


INT: Final = pl.Int64()
FLOAT: Final = pl.Float64()
TEXT: Final = pl.String()
Schema = Mapping[str, pl.DataType]


UNREADABLE: Final = (
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zstandard.ZstdError,
)
"""What reading a missing, cut off or damaged file raises, whatever it is compressed with."""
UNREADABLE_ZIP: Final = (*UNREADABLE, RuntimeError)
"""The same of zip archives: zipfile says RuntimeError of encrypted members and of unknown compressions."""


def open_bytes(path: Path) -> IO[bytes]:
    """Open a plain, gzip or xz file; opening and reading raise one of :data:`UNREADABLE`."""
    if path.suffix == ".gz":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return cast("IO[bytes]", lzma.open(path, "rb")) if path.suffix == ".xz" else path.open("rb")


def read_bytes(path: Path) -> bytes:
    """Return the contents of a plain, gzip or xz file, or of the only member of a zip archive.

    Raises
    ------
    SourceError
        If the file is missing, cut off or no archive of its kind.
    """
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                if len(names) != 1:
                    raise SourceError(path, f"the archive holds {len(names)} files, expected one")
                return archive.read(names[0])
        with open_bytes(path) as stream:
            return stream.read()
    except UNREADABLE_ZIP as error:
        raise SourceError(path, f"cannot be read: {_one_line(error)}") from error


def read_table(path: Path, schema: Schema, *, header: bool, nullable: Collection[str] = ()) -> pl.DataFrame:
    """Return a comma-separated table with exactly the columns of ``schema``.

    Parameters
    ----------
    schema : mapping of str to polars type
        All columns of the file in order.
    header : bool
        Whether the first line names the columns; the names must be those of ``schema``.
    nullable : collection of str
        Columns that may be empty; an empty text is null.

    Raises
    ------
    SourceError
        Naming the file, and the first row and field that are wrong.
    """
    return parse_table(read_bytes(path), str(path), schema, header=header, nullable=nullable)


def parse_table(
    data: bytes, origin: str, schema: Schema, *, header: bool, nullable: Collection[str] = ()
) -> pl.DataFrame:
    """Return the table in ``data``; ``origin`` names it in errors. See :func:`read_table`."""
    if header:
        _require_header(data, origin, schema)
    if not data.strip():
        raise SourceError(origin, "the file is empty")
    try:
        frame = pl.read_csv(data, has_header=header, schema=dict(schema), infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise _first_fault(data, origin, schema, header, nullable) from error
    for name in schema:
        column = frame.get_column(name)
        if name not in nullable and (column.null_count() or (schema[name] == FLOAT and not column.is_finite().all())):
            raise _first_fault(data, origin, schema, header, nullable)
    return frame


def _require_header(data: bytes, origin: str, schema: Schema) -> None:
    first = data.split(b"\n", 1)[0].decode("utf-8", "replace").strip().lstrip("\ufeff")
    found = [name.strip('"') for name in first.split(",")]
    for name in schema:
        if name not in found:
            raise SourceError(origin, "the column is missing from the header", field=name)
    if found != list(schema):
        raise SourceError(origin, f"the header is {', '.join(found)}; expected {', '.join(schema)}")


def _first_fault(data: bytes, origin: str, schema: Schema, header: bool, nullable: Collection[str]) -> SourceError:
    """Return the error for the first wrong cell, found by reading everything as text."""
    import csv

    names = list(schema)
    lines = csv.reader(io.StringIO(data.decode("utf-8", "replace")))
    if header:
        next(lines, None)
    for row, cells in enumerate(lines, start=1):
        if len(cells) != len(names):
            return SourceError(origin, f"has {len(cells)} fields, expected {len(names)}", row=row)
        for name, cell in zip(names, cells, strict=True):
            if cell == "":
                if name not in nullable:
                    return SourceError(origin, "is empty", row=row, field=name)
            elif not _parses(cell, schema[name], is_finite=name not in nullable):
                kind = "an integer" if schema[name] == pl.Int64 else "a number"
                return SourceError(origin, f"{cell!r} is not {kind}", row=row, field=name)
    return SourceError(origin, "cannot be parsed as a comma-separated table")


def _parses(cell: str, kind: pl.DataType, *, is_finite: bool) -> bool:
    if kind == pl.String:
        return True
    try:
        return isinstance(int(cell), int) if kind == pl.Int64 else isfinite(float(cell)) or not is_finite
    except ValueError:
        return False


def _one_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
