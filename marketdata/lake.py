"""SQL over the published partitions: DuckDB reads the Parquet files where they lie, and opens only those that a query names.

Nothing is copied or kept: a connection is in memory, its views point at files that passed their audit. Quarantined and half
written partitions cannot be seen.
"""

from collections.abc import Sequence
from datetime import date

import duckdb
import polars as pl

from marketdata.events import ASK, BID, EXECUTE, HIDDEN, TRADE
from marketdata.instruments import Instrument
from marketdata.partitions import DATA_FILE
from marketdata.paths import NO_INSTRUMENT, DataRoot


class LakeError(ValueError):
    """A query cannot be answered; the message says why."""


def published_assets(root: DataRoot) -> list[str]:
    """Return the names of all assets that have a published partition."""
    base = root.path / "published"
    return sorted(p.name for p in base.iterdir() if p.is_dir()) if base.exists() else []


def partition_files(
    root: DataRoot,
    asset: str,
    *,
    symbols: Sequence[str] | None = None,
    first: date | None = None,
    last: date | None = None,
) -> list[str]:
    """Return the Parquet files of an asset, pruned by symbol and session, in (symbol, session) order."""
    base = root.path / "published" / asset
    found = []
    for path in sorted(base.glob(f"*/*/{DATA_FILE}")):
        symbol, day = path.parts[-3], date.fromisoformat(path.parts[-2])
        wanted = symbols is None or symbol in symbols
        if wanted and (first is None or day >= first) and (last is None or day <= last):
            found.append(str(path))
    return found


def connect(root: DataRoot) -> duckdb.DuckDBPyConnection:
    """Return an in-memory connection with one view an asset.

    Each view has the asset's columns, ``session`` (DATE) and, for assets by instrument, ``instrument`` (VARCHAR); both come from
    the partition's place, so a filter on the rows of one partition reads one file's statistics before its rows.
    """
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    for asset in published_assets(root):
        files = partition_files(root, asset)
        if not files:
            continue
        listed = ", ".join(_quoted(name) for name in files)
        by_instrument = any(f"/{NO_INSTRUMENT}/" not in name for name in files)
        place = ", split_part(filename, '/', -3) AS instrument" if by_instrument else ""
        connection.execute(
            f'CREATE VIEW "{asset}" AS SELECT * EXCLUDE (filename), '
            f"CAST(split_part(filename, '/', -2) AS DATE) AS session{place} "
            f"FROM read_parquet([{listed}], filename = true, union_by_name = true)"
        )
    return connection


def query(root: DataRoot, sql: str) -> pl.DataFrame:
    """Return the rows of a query over the views of :func:`connect`.

    Raises
    ------
    LakeError
        With DuckDB's message, if the query is wrong.
    """
    with connect(root) as connection:
        try:
            return connection.sql(sql).pl()
        except duckdb.Error as error:
            raise LakeError(str(error).strip()) from error
        except AttributeError as error:
            raise LakeError("the statement gives no rows; only queries are answered") from error


def bars(root: DataRoot, instrument: Instrument, first: date, last: date, interval_ns: int) -> pl.DataFrame:
    """Return trade bars of one instrument: OHLC prices, volume, signed volume, trades.

    Parameters
    ----------
    first, last : date
        Sessions, both included; only their files are opened.
    interval_ns : int
        Length of a bar; bars are aligned to multiples of it since 1970 UTC and half open. Bars without a trade are left out.

    Returns
    -------
    pl.DataFrame
        ``start_ns`` int64, ``open, high, low, close`` float64 in the quote currency, ``volume_lots`` int64, ``signed_lots``
        int64 (aggressive buys minus sells), ``trades`` int64 (executions), ordered by time.

    Raises
    ------
    LakeError
        If the interval is not positive, or no events are published for those sessions.
    """
    if interval_ns <= 0:
        raise LakeError(f"a bar of {interval_ns} ns has no length")
    files = partition_files(root, "events", symbols=[instrument.symbol], first=first, last=last)
    if not files:
        raise LakeError(f"no published events of {instrument.symbol} from {first} to {last}")
    listed = ", ".join(_quoted(name) for name in files)
    scale = f"CAST({instrument.price_decimals!r} AS DOUBLE)"
    with duckdb.connect(":memory:") as connection:
        return connection.sql(
            f"""
            SELECT ts_recv - ts_recv % {interval_ns} AS start_ns,
                   arg_min(price_units, (ts_recv, row_number)) * {scale} AS open,
                   max(price_units) * {scale} AS high,
                   min(price_units) * {scale} AS low,
                   arg_max(price_units, (ts_recv, row_number)) * {scale} AS close,
                   CAST(sum(size_lots) AS BIGINT) AS volume_lots,
                   CAST(sum(CASE side WHEN {ASK} THEN size_lots WHEN {BID} THEN -size_lots ELSE 0 END) AS BIGINT) AS signed_lots,
                   count(*) AS trades
            FROM (SELECT ts_recv, price_units, size_lots, side, action, file_row_number AS row_number
                  FROM read_parquet([{listed}], file_row_number = true)
                  WHERE action IN ({EXECUTE}, {HIDDEN}, {TRADE}))
            GROUP BY start_ns ORDER BY start_ns
            """
        ).pl()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
