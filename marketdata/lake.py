"""SQL over the published partitions: DuckDB reads the Parquet files where they lie, and opens only those that a query names.

Nothing is copied or kept: a connection is in memory, its views point at files that passed their audit. Quarantined and half
written partitions cannot be seen. A connection of :func:`connect` offers

- one view an asset: its columns, ``session`` (DATE) and, for assets by instrument, ``instrument`` (VARCHAR);
- ``instruments``: the root's instruments with their grids;
- ``trades``: the executions of ``events``, with ``price`` and ``size`` as the market quotes them and ``aggressor`` (1 buys,
  -1 sells, 0 where that is not known);
- the table macros ``time_bars(instrument, first, last, interval_ns)``, ``volume_bars(instrument, first, last, lots)`` and
  ``trade_bars(instrument, first, last, trades)``, sessions from ``first`` to ``last`` included.

A filter on ``session`` and ``instrument`` chooses files before any is opened. Joins as of a time are DuckDB's own
(``… ASOF JOIN … ON a.instrument = b.instrument AND a.ts_recv >= b.ts_recv``); trades beside the quotes they met come from
:func:`trades_with_quotes`, because quotes have to be folded out of the book.
"""

from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl

from marketdata.book import empty_book, fold_best
from marketdata.events import EVENT_SCHEMA, EXECUTE, F_LAST, HIDDEN, TRADE, events_from_frame
from marketdata.instruments import Instrument
from marketdata.partitions import DATA_FILE
from marketdata.paths import NO_INSTRUMENT, DataRoot

Int64 = npt.NDArray[np.int64]

EXECUTIONS: Final = (EXECUTE, HIDDEN, TRADE)
ONE_SCHEMA: Final = frozenset({"events"})
"""Assets whose columns never change: their files' schemas need not be compared before a query."""


class LakeError(ValueError):
    """A query cannot be answered; the message says why."""


def published_assets(root: DataRoot) -> list[str]:
    """Return the names of all assets that have a published partition."""
    base = root.published_folder
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
    base = root.published_folder / asset
    folders = [base / symbol for symbol in sorted(symbols)] if symbols is not None else sorted(base.glob("*"))
    found = []
    for folder in folders:
        for path in sorted(folder.glob(f"*/{DATA_FILE}")):
            name = path.parent.name
            if ".old." in name:  # a partition that is being replaced
                continue
            day = date.fromisoformat(name)
            if (first is None or day >= first) and (last is None or day <= last):
                found.append(str(path))
    return found


def connect(root: DataRoot) -> duckdb.DuckDBPyConnection:
    """Return an in-memory connection with the views and macros that the module names."""
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    for asset in published_assets(root):
        files = partition_files(root, asset)
        if files:
            by_instrument = any(f"/{NO_INSTRUMENT}/" not in name for name in files)
            place = ", split_part(filename, '/', -3) AS instrument" if by_instrument else ""
            by_name = "" if asset in ONE_SCHEMA else ", union_by_name = true"
            connection.execute(
                f'CREATE VIEW "{asset}" AS SELECT * EXCLUDE (filename), '
                f"CAST(split_part(filename, '/', -2) AS DATE) AS session{place} "
                f"FROM read_parquet({_listed(files)}, filename = true{by_name})"
            )
    _add_market_views(connection, root)
    return connection


def _add_market_views(connection: duckdb.DuckDBPyConnection, root: DataRoot) -> None:
    """Add ``instruments``, ``trades`` and the bar macros to a connection, where the root has settings and events."""
    if not root.settings_file.exists():
        return
    instruments = root.settings().instruments
    connection.execute(
        "CREATE TABLE instruments (instrument VARCHAR, instrument_id SMALLINT, venue VARCHAR, tick_units BIGINT, "
        "price_decimals DOUBLE, lot_size DOUBLE, book_kind VARCHAR)"
    )
    for item in instruments:
        row = (item.symbol, item.instrument_id, item.venue, item.tick_units, item.price_decimals, item.lot_size)
        connection.execute("INSERT INTO instruments VALUES (?, ?, ?, ?, ?, ?, ?)", [*row, item.book_kind.value])
    if not partition_files(root, "events"):
        return

    def by_instrument(values: list[float]) -> str:
        cases = " ".join(
            f"WHEN {quoted(item.symbol)} THEN CAST({value!r} AS DOUBLE)"
            for item, value in zip(instruments, values, strict=True)
        )
        return f"CASE instrument {cases} END"

    connection.execute(
        f"""
        CREATE VIEW trades AS SELECT instrument, session, ts_event, ts_recv, sequence,
            price_units * {by_instrument([item.price_decimals for item in instruments])} AS price,
            size_lots * {by_instrument([item.lot_size for item in instruments])} AS size,
            price_units, size_lots, CAST(-side AS TINYINT) AS aggressor, action = {HIDDEN} AS is_hidden
        FROM events WHERE action IN {EXECUTIONS}
        """
    )
    for name, unit, bar, first in _BAR_MACROS:
        connection.execute(
            f"""
            CREATE MACRO {name}(which, first, last, {unit}) AS TABLE
            SELECT instrument, {first} AS start_ns, arg_min(price, place) AS open, max(price) AS high, min(price) AS low,
                   arg_max(price, place) AS close, CAST(sum(size_lots) AS BIGINT) AS volume_lots,
                   CAST(sum(aggressor * size_lots) AS BIGINT) AS signed_lots, count(*) AS trades FROM (
                SELECT *, {bar} AS bar FROM (
                    SELECT *, row_number() OVER w AS place, sum(size_lots) OVER w AS volume FROM trades
                    WHERE instrument = which AND session BETWEEN first AND last
                    WINDOW w AS (ORDER BY session, sequence, ts_recv ROWS UNBOUNDED PRECEDING)))
            GROUP BY instrument, bar ORDER BY bar
            """
        )


_BAR_MACROS: Final = (
    ("time_bars", "interval_ns", "ts_recv // interval_ns", "bar * any_value(interval_ns)"),
    ("volume_bars", "lots", "(volume - size_lots) // lots", "min(ts_recv)"),
    ("trade_bars", "trades_a_bar", "(place - 1) // trades_a_bar", "min(ts_recv)"),
)


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
    rows = _ordered_executions(root, instrument, first, last)
    bar = rows["ts_recv"] // interval_ns
    return _bars(rows, bar, instrument).with_columns(start_ns=pl.Series(_firsts(bar)) * interval_ns)


def volume_bars(root: DataRoot, instrument: Instrument, first: date, last: date, lots: int) -> pl.DataFrame:
    """Return bars of ``lots`` traded each, with the columns of :func:`bars`; ``start_ns`` is the first trade's ``ts_recv``.

    A trade belongs to the bar in which its first lot falls; trades are not split. The last bar may be short.

    Raises
    ------
    LakeError
        As :func:`bars`.
    """
    if lots <= 0:
        raise LakeError(f"a bar of {lots} lots has no volume")
    rows = _ordered_executions(root, instrument, first, last)
    return _bars(rows, (np.cumsum(rows["size_lots"]) - rows["size_lots"]) // lots, instrument)


def trade_bars(root: DataRoot, instrument: Instrument, first: date, last: date, count: int) -> pl.DataFrame:
    """Return bars of ``count`` executions each, with the columns of :func:`bars`; the last may be short.

    Raises
    ------
    LakeError
        As :func:`bars`.
    """
    if count <= 0:
        raise LakeError(f"a bar of {count} trades has none")
    rows = _ordered_executions(root, instrument, first, last)
    return _bars(rows, np.arange(len(rows["size_lots"])) // count, instrument)


def _ordered_executions(root: DataRoot, instrument: Instrument, first: date, last: date) -> dict[str, Int64]:
    """Return the executions of some sessions in their order, one int64 array a column."""
    names = ("ts_recv", "price_units", "size_lots", "side")
    with _engine().cursor() as connection:  # DuckDB keeps the order of a file's rows
        parts = [
            connection.sql(
                f"SELECT {', '.join(names)} FROM read_parquet({quoted(file)}) WHERE action IN {EXECUTIONS}"
            ).fetchnumpy()
            for file in _event_files(root, instrument, first, last)
        ]
    return {name: np.concatenate([part[name] for part in parts], dtype=np.int64) for name in names}


def _firsts(bar: Int64) -> Int64:
    """Return the number of each bar, given that of each row."""
    return bar[_starts(bar)]


def _starts(bar: Int64) -> npt.NDArray[np.intp]:
    """Return the first row of each bar; rows of a bar lie together."""
    changes = np.flatnonzero(bar[1:] != bar[:-1]) + 1
    return np.concatenate([np.zeros(min(len(bar), 1), np.intp), changes])


def _bars(rows: dict[str, Int64], bar: Int64, instrument: Instrument) -> pl.DataFrame:
    """Return the bars of ordered rows, given the bar of each; a bar starts with its first execution."""
    starts, price, lots = _starts(bar), rows["price_units"], rows["size_lots"]
    ends = np.concatenate([starts[1:], np.full(min(len(bar), 1), len(bar))])
    scale, signed = instrument.price_decimals, -rows["side"] * lots  # the side is the resting one
    return pl.DataFrame(
        {
            "start_ns": rows["ts_recv"][starts],
            "open": price[starts] * scale,
            "high": _each(np.maximum, price, starts) * scale,
            "low": _each(np.minimum, price, starts) * scale,
            "close": price[ends - 1] * scale,
            "volume_lots": _each(np.add, lots, starts),
            "signed_lots": _each(np.add, signed, starts),
            "trades": ends - starts,
        }
    )


def _each(fold: np.ufunc, values: Int64, starts: npt.NDArray[np.intp]) -> Int64:
    return fold.reduceat(values, starts) if len(starts) else values[:0]


@lru_cache(maxsize=1)
def _engine() -> duckdb.DuckDBPyConnection:
    """Return the process's own empty database: opening one costs as much as a bar query."""
    return duckdb.connect(":memory:")


def _executions(root: DataRoot, instrument: Instrument, first: date, last: date) -> str:
    """Return SQL for the executions of some sessions; ``place`` numbers the rows in their order."""
    parts = [
        f"SELECT ts_event, ts_recv, price_units, size_lots, side, action, file_row_number + {k << 40} AS place "
        f"FROM read_parquet({quoted(name)}, file_row_number = true) WHERE action IN {EXECUTIONS}"
        for k, name in enumerate(_event_files(root, instrument, first, last))
    ]
    return " UNION ALL ".join(parts)


def _event_files(root: DataRoot, instrument: Instrument, first: date, last: date) -> list[str]:
    files = partition_files(root, "events", symbols=[instrument.symbol], first=first, last=last)
    if not files:
        raise LakeError(f"no published events of {instrument.symbol} from {first} to {last}")
    return files


def quotes(root: DataRoot, instrument: Instrument, first: date, last: date) -> pl.DataFrame:
    """Return every change of the best quotes of some sessions, folded out of the book.

    Returns
    -------
    pl.DataFrame
        ``place`` int64 (the event's number, over sessions in order), ``ts_event``, ``ts_recv`` int64, ``bid, ask`` float64 in
        the quote currency (null where the side is empty), ``bid_lots, ask_lots`` int64; one row for each event group after
        which any of them is new. A session begins with no quotes.

    Raises
    ------
    LakeError
        If no events are published for those sessions.
    """
    scale, parts = instrument.price_decimals, []
    for k, name in enumerate(_event_files(root, instrument, first, last)):
        events = events_from_frame(pl.read_parquet(name, columns=list(EVENT_SCHEMA)))
        best = fold_best(empty_book(), events)
        ends = np.flatnonzero(events["flags"] & F_LAST)
        changed = np.ones(len(ends), np.bool_)
        changed[1:] = (best[ends][1:] != best[ends][:-1]).any(axis=1)
        rows = ends[changed]
        bid, bid_lots, ask, ask_lots = best[rows].T
        made = pl.DataFrame(
            {
                "place": rows.astype(np.int64) + (k << 40),
                "ts_event": events["ts_event"][rows],
                "ts_recv": events["ts_recv"][rows],
                "bid": bid * scale,
                "bid_lots": bid_lots,
                "ask": ask * scale,
                "ask_lots": ask_lots,
            }
        )
        parts.append(
            made.with_columns(
                pl.when(pl.col(f"{side}_lots") > 0).then(pl.col(side)).alias(side) for side in ("bid", "ask")
            )
        )
    return pl.concat(parts)


def trades_with_quotes(root: DataRoot, instrument: Instrument, first: date, last: date) -> pl.DataFrame:
    """Return every execution beside the best quotes that stood before its event group.

    Returns
    -------
    pl.DataFrame
        ``ts_event, ts_recv`` int64; ``price`` float64; ``size_lots`` int64; ``aggressor`` int8 (1 buys, -1 sells, 0 unknown);
        ``is_hidden``; ``bid, ask, mid`` float64 and ``bid_lots, ask_lots`` int64 (null where nothing stood); ``quote_ts_recv``
        int64; ``effective_spread_bps`` float64 (twice the signed distance from the mid, null where the aggressor is not known).

    Raises
    ------
    LakeError
        If no events are published for those sessions.
    """
    sql = f"""
        SELECT t.ts_event, t.ts_recv, t.price_units * {instrument.price_decimals!r}::DOUBLE AS price, t.size_lots,
               CAST(-t.side AS TINYINT) AS aggressor, t.action = {HIDDEN} AS is_hidden,
               q.bid, q.bid_lots, q.ask, q.ask_lots, (q.bid + q.ask) / 2 AS mid, q.ts_recv AS quote_ts_recv,
               CASE WHEN t.side <> 0 THEN -t.side * 2e4 * (t.price_units * {instrument.price_decimals!r}::DOUBLE / mid - 1) END
                   AS effective_spread_bps
        FROM ({_executions(root, instrument, first, last)}) t
        ASOF LEFT JOIN quotes q ON t.place >> 40 = q.place >> 40 AND t.place > q.place
        ORDER BY t.place
        """
    with duckdb.connect(":memory:") as connection:
        connection.register("quotes", quotes(root, instrument, first, last))
        return connection.sql(sql).pl()


def _listed(files: Sequence[str]) -> str:
    return f"[{', '.join(quoted(name) for name in files)}]"


def quoted(text: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
