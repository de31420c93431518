"""Rows in PostgreSQL's binary copy format, put together as one array a block of rows."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

Columns = tuple[tuple[str, str], ...]
"""Names and types of a table, in order."""

_EPOCH_2000_US: Final = 946_684_800_000_000
_EPOCH_2000_DAYS: Final = 10_957
_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER: Final = b"\xff\xff"
_CHUNK_ROWS: Final = 200_000
_WIDTHS: Final = {
    "timestamptz": ">i8",
    "date": ">i4",
    "bigint": ">i8",
    "smallint": ">i2",
    "double precision": ">f8",
    "boolean": "u1",
}


def binary_blocks(frame: pl.DataFrame, columns: Columns) -> Iterator[bytes]:
    """Yield a frame in PostgreSQL's binary copy format, without a loop over its rows.

    ``time`` is int64 microseconds since 1970 UTC; text columns hold one value throughout; nothing is null.

    Raises
    ------
    ValueError
        If a column is missing, holds a null, or a text column has several values.
    """
    fields: list[tuple[str, Any]] = [("count", ">i2")]
    texts: dict[str, bytes] = {}
    for name, kind in columns:
        column = frame.get_column(name)
        if column.null_count():
            raise ValueError(f"column {name} holds {column.null_count()} null(s)")
        if kind == "text":
            if column.n_unique() > 1:
                raise ValueError(f"column {name} holds {column.n_unique()} texts, not one")
            texts[name] = (column[0] if len(column) else "").encode()
            fields += [(f"{name}#", ">i4"), (name, f"V{max(len(texts[name]), 1)}")]
        else:
            fields += [(f"{name}#", ">i4"), (name, _WIDTHS[kind])]
    kind_of = np.dtype(fields)
    yield _SIGNATURE
    for first in range(0, frame.height, _CHUNK_ROWS):
        part = frame.slice(first, _CHUNK_ROWS)
        rows = np.zeros(part.height, kind_of)
        rows["count"] = len(columns)
        for name, kind in columns:
            rows[f"{name}#"] = len(texts[name]) if name in texts else kind_of[name].itemsize
            rows[name] = np.void(texts[name]) if name in texts else _values(part, name, kind)
        yield rows.tobytes()
    yield _TRAILER


def _values(frame: pl.DataFrame, name: str, kind: str) -> npt.NDArray[Any]:
    column = frame.get_column(name)
    if kind == "timestamptz":
        return column.to_numpy() - _EPOCH_2000_US
    if kind == "date":
        return column.cast(pl.Int32).to_numpy() - _EPOCH_2000_DAYS
    return column.cast(pl.UInt8).to_numpy() if kind == "boolean" else column.to_numpy()
