"""Bars, trades and events in PostgreSQL, partition by partition: what is there is replaced whole, or left when it is the same.

Tables of the schema ``flowsense`` (times are kept twice: ``time`` as a timestamp of microseconds for people and for chunks,
``ts_recv`` and ``ts_event`` as nanoseconds):

- ``events``, ``trades``: the rows of a published ``events`` partition, and its executions in the market's own prices and sizes;
- ``bars``: trade bars of any length, ``interval_ns``;
- ``exports``: which partition was written from which bytes; an export of the same bytes is passed over;
- ``bars_1m``: a view of one-minute bars over ``trades``.

Where the TimescaleDB extension is installed, ``events`` and ``trades`` are hypertables by day and ``bars_1m`` a continuous
aggregate. Where it is not, or this user may not install it, they are native tables in monthly range partitions and ``bars_1m``
is a materialised view, refreshed after each export while others go on reading it. Rows travel by ``COPY`` in binary
(:mod:`marketdata.postgres_copy`).

The password is never part of a message: it is asked of the environment (``PGPASSWORD``, a password file) by the driver.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Self
from urllib.parse import urlsplit, urlunsplit

import polars as pl

from marketdata.events import EXECUTE, HIDDEN, TRADE
from marketdata.instruments import Instrument
from marketdata.postgres_copy import Columns, binary_blocks

log = logging.getLogger(__name__)

SCHEMA: Final = "flowsense"
EXTENSION: Final = "timescaledb"
_PARTITIONED: Final = (
    "SELECT 1 FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
    "WHERE nspname = %s AND relname = 'trades' AND relkind = 'p'"
)

EVENTS: Final[Columns] = (
    ("time", "timestamptz"),
    ("session", "date"),
    ("instrument", "text"),
    ("ts_event", "bigint"),
    ("ts_recv", "bigint"),
    ("price_units", "bigint"),
    ("size_lots", "bigint"),
    ("order_id", "bigint"),
    ("sequence", "bigint"),
    ("instrument_id", "smallint"),
    ("action", "smallint"),
    ("side", "smallint"),
    ("flags", "smallint"),
    ("clock_quality", "smallint"),
)
TRADES: Final[Columns] = (
    ("time", "timestamptz"),
    ("session", "date"),
    ("instrument", "text"),
    ("ts_event", "bigint"),
    ("ts_recv", "bigint"),
    ("sequence", "bigint"),
    ("place", "bigint"),
    ("price", "double precision"),
    ("size", "double precision"),
    ("price_units", "bigint"),
    ("size_lots", "bigint"),
    ("aggressor", "smallint"),
    ("is_hidden", "boolean"),
)
BARS: Final[Columns] = (
    ("time", "timestamptz"),
    ("session", "date"),
    ("instrument", "text"),
    ("interval_ns", "bigint"),
    ("start_ns", "bigint"),
    ("open", "double precision"),
    ("high", "double precision"),
    ("low", "double precision"),
    ("close", "double precision"),
    ("volume_lots", "bigint"),
    ("signed_lots", "bigint"),
    ("trades", "bigint"),
)
TABLES: Final[dict[str, Columns]] = {"events": EVENTS, "trades": TRADES, "bars": BARS}


class PostgresError(ValueError):
    """The database cannot be used; the message names it without its password and says why."""


def without_password(url: str) -> str:
    """Return a URL as it may be shown."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rsplit("@", 1)[1]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:…@{host}"))


def has_password(url: str) -> bool:
    """Whether a URL carries a password, as part of its address or of its query."""
    parts = urlsplit(url)
    return parts.password is not None or "password=" in parts.query


@dataclass(frozen=True, slots=True)
class Written:
    """One partition in the database.

    Attributes
    ----------
    table, instrument : str
    session : date
    rows : int
    is_new : bool
        Whether rows were written; False where the same bytes were there already.
    """

    table: str
    instrument: str
    session: date
    rows: int
    is_new: bool


class PostgresSink:
    """An open database that partitions are written to; a context manager.

    Parameters
    ----------
    url : str
        ``postgresql://user@host:port/database``; what it lacks the driver takes from its environment (``PGPASSWORD``, …).

    Raises
    ------
    PostgresError
        If the driver is not installed, or the database cannot be reached.
    """

    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise PostgresError("PostgreSQL needs the package psycopg: pip install 'flowsense[postgres]'") from error
        self._shown = without_password(url)
        self._errors = psycopg.Error
        try:
            with psycopg.connect(url, autocommit=True, application_name="flowsense", connect_timeout=10) as asking:
                self.has_timescale = self._has_timescale(asking)
            self._connection = psycopg.connect(url, application_name="flowsense", connect_timeout=10)
        except psycopg.Error as error:
            raise PostgresError(f"{self._shown}: cannot be reached: {_reason(error, url)}") from None
        with self._telling():
            self._prepare()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Commit what the block did, or undo it and say why it failed."""
        try:
            yield
            self._connection.commit()
        except self._errors as error:
            self._connection.rollback()
            raise PostgresError(f"{self._shown}: {_reason(error, '')}") from error

    def _has_timescale(self, asking: Any) -> bool:
        """Whether tables are, or shall be, hypertables.

        Tables that were made as range partitions stay so. An extension that is on the server but that this user may not
        install, or that the server has not preloaded (which ends the connection that asks), is none.
        """
        if asking.execute(_PARTITIONED, [SCHEMA]).fetchone() is not None:
            return False
        if asking.execute("SELECT 1 FROM pg_extension WHERE extname = %s", [EXTENSION]).fetchone() is not None:
            return True
        if asking.execute("SELECT 1 FROM pg_available_extensions WHERE name = %s", [EXTENSION]).fetchone() is None:
            return False
        try:
            asking.execute(f"CREATE EXTENSION IF NOT EXISTS {EXTENSION}".encode())
        except self._errors as error:
            log.warning("%s: tables are plain partitions: %s", self._shown, _reason(error, ""))
            return False
        return True

    def _prepare(self) -> None:
        for statement in (*schema_statements(self.has_timescale), *view_statements(self.has_timescale)):
            self._connection.execute(statement.encode())

    def write_events(self, instrument: Instrument, session: date, events: pl.DataFrame, data_sha256: str) -> Written:
        """Write a published ``events`` partition; raises PostgresError."""
        frame = _placed(events, instrument, session)
        return self._replace("events", instrument.symbol, session, frame, data_sha256)

    def write_trades(self, instrument: Instrument, session: date, events: pl.DataFrame, data_sha256: str) -> Written:
        """Write the executions of a published ``events`` partition; raises PostgresError."""
        executions = events.with_row_index("place").filter(pl.col("action").is_in([EXECUTE, HIDDEN, TRADE]))
        frame = _placed(executions, instrument, session).with_columns(
            (pl.col("price_units") * instrument.price_decimals).alias("price"),
            (pl.col("size_lots") * instrument.lot_size).alias("size"),
            (-pl.col("side")).alias("aggressor"),
            (pl.col("action") == HIDDEN).alias("is_hidden"),
        )
        return self._replace("trades", instrument.symbol, session, frame, data_sha256)

    def write_bars(
        self, instrument: Instrument, session: date, bars: pl.DataFrame, interval_ns: int, data_sha256: str
    ) -> Written:
        """Write bars of one length as ``lake.bars`` makes them; raises PostgresError."""
        frame = bars.with_columns(
            (pl.col("start_ns") // 1_000).alias("time"),
            pl.lit(session).alias("session"),
            pl.lit(instrument.symbol).alias("instrument"),
            pl.lit(interval_ns, pl.Int64).alias("interval_ns"),
        )
        return self._replace("bars", instrument.symbol, session, frame, data_sha256, interval_ns)

    def _replace(
        self, table: str, symbol: str, session: date, frame: pl.DataFrame, data_sha256: str, interval_ns: int = 0
    ) -> Written:
        """Put a partition in the place of what was there of it, in one transaction, unless that came from the same bytes."""
        place = (table, symbol, session, interval_ns)
        with self._telling():
            self._connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", ["/".join(map(str, place))])
            there = self._connection.execute(
                f"SELECT data_sha256, rows FROM {SCHEMA}.exports "
                "WHERE table_name = %s AND instrument = %s AND session = %s AND interval_ns = %s",
                place,
            ).fetchone()
            if there is not None and there[0] == data_sha256:
                return Written(table, symbol, session, int(there[1]), False)
            if not self.has_timescale and table != "bars":
                self._connection.execute(month_statement(table, session).encode())
            only = " AND interval_ns = %s" if table == "bars" else ""
            self._connection.execute(
                f"DELETE FROM {SCHEMA}.{table} WHERE instrument = %s AND session = %s{only}".encode(),
                place[1:] if only else place[1:3],
            )
            names = ", ".join(name for name, _ in TABLES[table])
            statement = f"COPY {SCHEMA}.{table} ({names}) FROM STDIN (FORMAT BINARY)".encode()
            with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
                for block in binary_blocks(frame, TABLES[table]):
                    copy.write(block)
            self._connection.execute(
                f"INSERT INTO {SCHEMA}.exports (table_name, instrument, session, interval_ns, data_sha256, rows) "
                "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (table_name, instrument, session, interval_ns) DO UPDATE "
                "SET data_sha256 = excluded.data_sha256, rows = excluded.rows, written = now()",
                (*place, data_sha256, frame.height),
            )
        log.info("%s: %s %s %s: %d rows", self._shown, table, symbol, session, frame.height)
        return Written(table, symbol, session, frame.height, True)

    def refresh(self, first: date, last: date) -> None:
        """Bring ``bars_1m`` up to date for the sessions from ``first`` to ``last``; raises PostgresError."""
        if not self.has_timescale:
            with self._telling():
                self._connection.execute(f"REFRESH MATERIALIZED VIEW CONCURRENTLY {SCHEMA}.bars_1m".encode())
            return
        self._connection.autocommit = True  # a continuous aggregate is not refreshed inside a transaction
        try:
            with self._telling():
                self._connection.execute(
                    f"CALL refresh_continuous_aggregate('{SCHEMA}.bars_1m', %s::date - 1, %s::date + 2)".encode(),
                    [first, last],
                )
        finally:
            self._connection.autocommit = False


def schema_statements(has_timescale: bool) -> Sequence[str]:
    """Return what makes schema and tables where they are not there yet."""

    def columns(table: str) -> str:
        return ", ".join(f"{name} {kind} NOT NULL" for name, kind in TABLES[table])

    by_range = "" if has_timescale else " PARTITION BY RANGE (session)"
    made = [
        f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
        f"CREATE TABLE IF NOT EXISTS {SCHEMA}.exports (table_name text NOT NULL, instrument text NOT NULL, "
        "session date NOT NULL, interval_ns bigint NOT NULL DEFAULT 0, data_sha256 text NOT NULL, rows bigint NOT NULL, "
        "written timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (table_name, instrument, session, interval_ns))",
        f"CREATE TABLE IF NOT EXISTS {SCHEMA}.bars ({columns('bars')}, PRIMARY KEY (instrument, interval_ns, start_ns, session))",
        f"CREATE TABLE IF NOT EXISTS {SCHEMA}.events ({columns('events')}){by_range}",
        f"CREATE TABLE IF NOT EXISTS {SCHEMA}.trades ({columns('trades')}){by_range}",
    ]
    for table in ("events", "trades"):
        if has_timescale:
            made.append(
                f"SELECT create_hypertable('{SCHEMA}.{table}', 'time', chunk_time_interval => INTERVAL '1 day', "
                "if_not_exists => TRUE)"
            )
        made.append(f"CREATE INDEX IF NOT EXISTS {table}_place ON {SCHEMA}.{table} (instrument, session, time)")
    return made


def month_statement(table: str, session: date) -> str:
    """Return what makes the range partition of a session's month where it is not there yet."""
    first = session.replace(day=1)
    after = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return (
        f"CREATE TABLE IF NOT EXISTS {SCHEMA}.{table}_{first:%Y_%m} PARTITION OF {SCHEMA}.{table} "
        f"FOR VALUES FROM ('{first.isoformat()}') TO ('{after.isoformat()}')"
    )


def view_statements(has_timescale: bool) -> Sequence[str]:
    """Return what makes ``bars_1m`` where it is not there yet."""
    if has_timescale:
        return (
            f"CREATE MATERIALIZED VIEW IF NOT EXISTS {SCHEMA}.bars_1m WITH (timescaledb.continuous) AS "
            "SELECT instrument, time_bucket(INTERVAL '1 minute', time) AS start, first(price, place) AS open, "
            "max(price) AS high, min(price) AS low, last(price, place) AS close, sum(size_lots) AS volume_lots, "
            "sum(aggressor * size_lots) AS signed_lots, count(*) AS trades "
            f"FROM {SCHEMA}.trades GROUP BY instrument, start WITH NO DATA",
        )
    return (
        f"CREATE MATERIALIZED VIEW IF NOT EXISTS {SCHEMA}.bars_1m AS "
        "SELECT instrument, date_trunc('minute', time) AS start, (array_agg(price ORDER BY session, place))[1] AS open, "
        "max(price) AS high, min(price) AS low, (array_agg(price ORDER BY session DESC, place DESC))[1] AS close, "
        "sum(size_lots) AS volume_lots, sum(aggressor * size_lots) AS signed_lots, count(*) AS trades "
        f"FROM {SCHEMA}.trades GROUP BY 1, 2",
        f"CREATE UNIQUE INDEX IF NOT EXISTS bars_1m_place ON {SCHEMA}.bars_1m (instrument, start)",
    )


def _placed(events: pl.DataFrame, instrument: Instrument, session: date) -> pl.DataFrame:
    return events.with_columns(
        (pl.col("ts_recv") // 1_000).alias("time"),
        pl.lit(session).alias("session"),
        pl.lit(instrument.symbol).alias("instrument"),
    )


def _reason(error: Exception, url: str) -> str:
    """Return a driver's message on one line, without the password of a URL."""
    text = " ".join(str(error).split())
    password = urlsplit(url).password if url else None
    return text.replace(password, "…") if password else text
