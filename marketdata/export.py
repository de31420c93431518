"""Published partitions to where others can use them: a PostgreSQL database, or CSV, JSON and Parquet files (ST8)."""

import os
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Final

import duckdb
import polars as pl

from marketdata import lake
from marketdata.instruments import BookKind
from marketdata.partitions import open_partition, read_manifest
from marketdata.paths import DataRoot, PartitionKey
from marketdata.postgres import PostgresSink, Written

Progress = Callable[[str, int, int], None]
TABLES: Final = ("events", "trades", "bars")
"""What a database takes."""
FORMATS: Final = {
    ".csv": "FORMAT CSV, HEADER",
    ".csv.gz": "FORMAT CSV, HEADER, COMPRESSION gzip",
    ".json": "FORMAT JSON, ARRAY true",
    ".jsonl": "FORMAT JSON",
    ".parquet": "FORMAT PARQUET, COMPRESSION zstd",
}
"""Endings of files that rows can be written to, and DuckDB's words for them."""


class ExportError(ValueError):
    """Nothing can be exported so; the message says what can."""


def export_to_postgres(
    root: DataRoot,
    url: str,
    *,
    tables: Sequence[str] = ("trades", "bars"),
    symbols: Sequence[str] | None = None,
    first: date | None = None,
    last: date | None = None,
    interval_ns: int = 60_000_000_000,
    progress: Progress | None = None,
) -> list[Written]:
    """Write partitions into a database and bring its views up to date; what is there from the same bytes is left.

    Parameters
    ----------
    url : str
        See :class:`~marketdata.postgres.PostgresSink`.
    tables : sequence of str
        Of :data:`TABLES`.
    symbols, first, last
        Which instruments and sessions; default: all that are published.
    interval_ns : int
        Length of the bars.

    Raises
    ------
    ExportError
        If a table is unknown, or nothing is published that could be exported.
    PostgresError
        If the database refuses.
    """
    unknown = [name for name in tables if name not in TABLES]
    if unknown:
        raise ExportError(f"unknown table {unknown[0]!r}; a database takes {', '.join(TABLES)}")
    settings = root.settings()
    wanted = [item for item in settings.instruments if symbols is None or item.symbol in symbols]
    for symbol in symbols or ():
        settings.instrument(symbol)
    places = []
    for item in wanted:
        for name in lake.partition_files(root, "events", symbols=[item.symbol], first=first, last=last):
            places.append((item, date.fromisoformat(Path(name).parent.name)))
    if not places:
        raise ExportError(f"{root.path}: no published events to export for these instruments and sessions")
    written: list[Written] = []
    with PostgresSink(url) as sink:
        for done, (item, day) in enumerate(places):
            if progress is not None:
                progress("export partitions", done, len(places))
            key = PartitionKey("events", day, item.symbol)
            digest = read_manifest(root, key).data_sha256
            rows = pl.read_parquet(open_partition(root, key)) if {"events", "trades"} & set(tables) else pl.DataFrame()
            if "events" in tables:
                written.append(sink.write_events(item, day, rows, digest))
            if "trades" in tables:
                written.append(sink.write_trades(item, day, rows, digest))
            if "bars" in tables and item.book_kind is not BookKind.BAR:
                made = lake.bars(root, item, day, day, interval_ns)
                written.append(sink.write_bars(item, day, made, interval_ns, digest))
        if "trades" in tables:
            sink.refresh(min(day for _, day in places), max(day for _, day in places))
    if progress is not None:
        progress("export partitions", len(places), len(places))
    return written


def export_to_file(
    root: DataRoot,
    table: str,
    path: Path,
    *,
    symbols: Sequence[str] | None = None,
    first: date | None = None,
    last: date | None = None,
) -> int:
    """Write the rows of a view of the lake (an asset, ``trades``, ``instruments``) to one file, whole or not at all.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    ExportError
        If the file's ending is none of :data:`FORMATS`, or there is no such view.
    """
    ending = next((e for e in sorted(FORMATS, key=len, reverse=True) if path.name.endswith(e)), None)
    if ending is None:
        raise ExportError(f"{path}: write to a file that ends in {', '.join(FORMATS)}")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with lake.connect(root) as connection:
        views = [row[0] for row in connection.execute("SELECT table_name FROM information_schema.tables").fetchall()]
        if table not in views:
            raise ExportError(
                f"there is no table {table!r}; this data root has {', '.join(sorted(views)) or 'nothing published'}"
            )
        columns = [row[0] for row in connection.execute(f'DESCRIBE "{table}"').fetchall()]
        conditions = []
        if symbols is not None and "instrument" in columns:
            conditions.append(f"instrument IN ({', '.join(lake.quoted(symbol) for symbol in symbols)})")
        if "session" in columns:
            conditions += [f"session >= DATE '{first}'"] if first else []
            conditions += [f"session <= DATE '{last}'"] if last else []
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        try:
            rows = connection.execute(f'SELECT count(*) FROM "{table}"{where}').fetchone()
            connection.execute(
                f'COPY (SELECT * FROM "{table}"{where}) TO {lake.quoted(str(temporary))} ({FORMATS[ending]})'
            )
            os.replace(temporary, path)
        except (duckdb.Error, OSError) as error:
            temporary.unlink(missing_ok=True)
            raise ExportError(f"{path}: cannot be written: {error}") from error
    return int(rows[0]) if rows else 0
