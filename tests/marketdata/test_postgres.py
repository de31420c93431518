"""Partitions in a real PostgreSQL are those of the store, replaced whole, and written once."""

import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import psycopg
import pytest

from marketdata import lake
from marketdata.events import ASK, BID, EXECUTE, F_LAST, HIDDEN, LEVEL, empty_events, events_to_frame
from marketdata.export import ExportError, export_to_file, export_to_postgres
from marketdata.partitions import publish
from marketdata.paths import DataRoot, PartitionKey
from marketdata.postgres import (
    EVENTS,
    PostgresError,
    PostgresSink,
    has_password,
    month_statement,
    schema_statements,
    view_statements,
    without_password,
)
from marketdata.postgres_copy import binary_blocks
from marketdata.presets import preset
from marketdata.settings import save_settings

DAYS = (date(2024, 1, 31), date(2024, 2, 1), date(2024, 12, 31))
SYMBOLS = ("ALFA", "BRAVO")


def server_binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    plain = shutil.which("initdb")
    return found[-1].parent if found else Path(plain).parent if plain else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL server of our own, by loopback; without its programs the tests are skipped, in CI they fail."""
    binaries = server_binaries()
    if binaries is None:
        reason = "no PostgreSQL server programs (initdb) on this machine"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("postgres")
    prefix: list[str] = []
    if os.getuid() == 0:  # the server refuses to run as root
        prefix = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
        for parent in folder.parents:
            if not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
    data, port = folder / "data", free_port()

    def run(*command: str) -> None:
        subprocess.run([*prefix, *command], check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=120)

    run(str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", "flowsense", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    run(str(binaries / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql://flowsense@127.0.0.1:{port}/postgres"
    finally:
        run(str(binaries / "pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "stop")


@pytest.fixture
def database(server: str) -> str:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS flowsense CASCADE")
    return server


def some_events(seed: int, day: date) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    events = empty_events(500)
    opened = int(np.datetime64(day, "ns").astype(np.int64)) + 15 * 3_600 * 10**9
    events["ts_recv"] = np.sort(rng.integers(0, 600 * 10**9, 500)) + opened
    events["ts_event"] = events["ts_recv"] - 1_000_001
    events["action"] = rng.choice([LEVEL, EXECUTE, HIDDEN], 500)
    events["side"] = rng.choice([BID, ASK], 500)
    events["price_units"] = rng.integers(9_900, 10_100, 500)
    events["size_lots"] = rng.integers(1, 9, 500)
    events["order_id"] = rng.integers(-(2**62), 2**62, 500)
    events["sequence"], events["flags"] = np.arange(500), F_LAST
    return events_to_frame(events)


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    made = DataRoot(tmp_path / "root")
    made.path.mkdir()
    settings = preset("simulated", None)
    save_settings(settings.model_copy(update={"instruments": settings.instruments[:2]}), made.settings_file)
    for k, day in enumerate(DAYS):
        for j, symbol in enumerate(SYMBOLS):
            publish(made, PartitionKey("events", day, symbol), some_events(10 * k + j, day), [])
    return made


def rows(url: str, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(sql.encode()).fetchall()


def test_the_database_holds_the_rows_of_the_store(database: str, root: DataRoot) -> None:
    written = export_to_postgres(root, database, tables=("events", "trades", "bars"))
    assert all(item.is_new for item in written)
    assert len(written) == 3 * len(DAYS) * len(SYMBOLS)
    names = ("ts_event", "ts_recv", "price_units", "size_lots", "order_id", "sequence", "action", "side", "flags")
    for k, day in enumerate(DAYS):
        found = rows(
            database,
            f"SELECT {', '.join(names)} FROM flowsense.events WHERE instrument = 'BRAVO' AND session = '{day}' ORDER BY sequence",
        )
        assert found == some_events(10 * k + 1, day).select(names).rows()
    for table in ("events", "trades"):
        wrong = rows(
            database,
            f"SELECT count(*) FROM flowsense.{table} WHERE time <> to_timestamp(0) + ts_recv / 1000 * interval '1 microsecond'",
        )
        assert wrong == [(0,)]
    trades = lake.query(
        root,
        "SELECT price, size, aggressor, is_hidden FROM trades WHERE instrument = 'ALFA' ORDER BY ts_recv, sequence",
    )
    found = rows(
        database,
        "SELECT price, size, aggressor, is_hidden FROM flowsense.trades WHERE instrument = 'ALFA' ORDER BY ts_recv, sequence",
    )
    assert found == trades.rows()


def test_bars_are_those_of_the_lake_and_the_view_agrees(database: str, root: DataRoot) -> None:
    export_to_postgres(root, database)
    expected = lake.bars(root, root.settings().instrument("ALFA"), DAYS[0], DAYS[-1], 60_000_000_000)
    stored = rows(
        database,
        "SELECT start_ns, open, high, low, close, volume_lots, signed_lots, trades FROM flowsense.bars "
        "WHERE instrument = 'ALFA' ORDER BY start_ns",
    )
    assert stored == expected.rows()
    viewed = rows(
        database,
        "SELECT (extract(epoch FROM start) * 1000000000)::bigint, open, high, low, close, volume_lots, signed_lots, trades "
        "FROM flowsense.bars_1m WHERE instrument = 'ALFA' ORDER BY start",
    )
    assert [tuple(map(float, row)) for row in viewed] == [tuple(map(float, row)) for row in expected.rows()]  # type: ignore[arg-type]  # numbers all


def test_an_export_of_the_same_bytes_writes_nothing_and_of_others_replaces_the_partition(
    database: str, root: DataRoot
) -> None:
    export_to_postgres(root, database)
    before = rows(database, "SELECT count(*), sum(price_units) FROM flowsense.trades")
    again = export_to_postgres(root, database)
    assert not any(item.is_new for item in again)
    assert rows(database, "SELECT count(*), sum(price_units) FROM flowsense.trades") == before
    publish(root, PartitionKey("events", DAYS[1], "ALFA"), some_events(99, DAYS[1]), [])
    third = export_to_postgres(root, database)
    assert {(item.table, item.instrument, item.session) for item in third if item.is_new} == {
        ("trades", "ALFA", DAYS[1]),
        ("bars", "ALFA", DAYS[1]),
    }
    expected = some_events(99, DAYS[1]).filter(pl.col("action").is_in([EXECUTE, HIDDEN]))
    found = rows(
        database,
        f"SELECT count(*), sum(price_units) FROM flowsense.trades WHERE instrument = 'ALFA' AND session = '{DAYS[1]}'",
    )
    assert found == [(expected.height, expected["price_units"].sum())]


def test_a_partition_that_fails_half_way_leaves_what_was_there(
    database: str, root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_to_postgres(root, database, tables=("trades",))
    before = rows(database, "SELECT count(*), sum(price_units) FROM flowsense.trades")
    publish(root, PartitionKey("events", DAYS[0], "ALFA"), some_events(77, DAYS[0]), [])
    monkeypatch.setattr("marketdata.postgres_copy._TRAILER", b"\x00\x07rubbish")
    with pytest.raises(PostgresError):
        export_to_postgres(root, database, tables=("trades",))
    assert rows(database, "SELECT count(*), sum(price_units) FROM flowsense.trades") == before


def test_without_timescale_tables_are_range_partitions_by_month_that_queries_prune(
    database: str, root: DataRoot
) -> None:
    with PostgresSink(database) as sink:
        if sink.has_timescale:
            pytest.skip("this server has TimescaleDB: tables are hypertables")
    export_to_postgres(root, database)
    parts = rows(
        database,
        "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid"
        " WHERE inhparent = 'flowsense.trades'::regclass ORDER BY 1",
    )
    assert [name for (name,) in parts] == [
        "trades_2024_01",
        "trades_2024_02",
        "trades_2024_12",
    ]
    plan = str(rows(database, "EXPLAIN SELECT count(*) FROM flowsense.trades WHERE session = '2024-02-01'"))
    assert "trades_2024_02" in plan
    assert "trades_2024_01" not in plan


def test_an_extension_that_this_user_may_not_install_leaves_plain_tables(
    database: str, root: DataRoot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """``file_fdw`` comes with every server and only a superuser may install it."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN")
        connection.execute("GRANT CREATE ON DATABASE postgres TO reader")
        offered = connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'file_fdw'").fetchone()
    monkeypatch.setattr("marketdata.postgres.EXTENSION", "file_fdw")
    try:
        with PostgresSink(database.replace("flowsense@", "reader@")) as sink:
            assert not sink.has_timescale
        if offered is not None:
            assert "tables are plain partitions: permission denied" in caplog.text
        with PostgresSink(database) as sink:  # who may install it does not: the tables are partitions already
            assert not sink.has_timescale
    finally:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("DROP OWNED BY reader CASCADE")
            connection.execute("DROP ROLE reader")


def test_an_export_does_not_wait_for_those_who_read_the_view(database: str, root: DataRoot) -> None:
    export_to_postgres(root, database, tables=("trades",), last=DAYS[0])
    with psycopg.connect(database) as reader:
        before = reader.execute("SELECT count(*) FROM flowsense.bars_1m").fetchone()
        export_to_postgres(root, f"{database}?options=-c%20lock_timeout%3D20s", tables=("trades",))
        reader.rollback()
        after = reader.execute("SELECT count(*) FROM flowsense.bars_1m").fetchone()
    assert before is not None
    assert after is not None
    assert 0 < before[0] < after[0]


def test_the_range_of_december_ends_with_the_year() -> None:
    assert "FROM ('2024-12-01') TO ('2025-01-01')" in month_statement("events", DAYS[2])


def test_with_timescale_tables_are_hypertables_and_the_view_a_continuous_aggregate() -> None:
    schema, views = "\n".join(schema_statements(True)), "\n".join(view_statements(True))
    assert schema.count("create_hypertable") == 2
    assert "PARTITION BY" not in schema
    assert "timescaledb.continuous" in views
    assert "time_bucket(INTERVAL '1 minute', time)" in views


def test_rows_in_binary_are_those_of_the_drivers_own_encoder(database: str) -> None:
    frame = some_events(1, DAYS[0]).with_columns(
        (pl.col("ts_recv") // 1_000).alias("time"),
        pl.lit(DAYS[0]).alias("session"),
        pl.lit("ünïcode").alias("instrument"),
    )
    with psycopg.connect(database) as connection:
        names = ", ".join(f"{name} {kind}" for name, kind in EVENTS)
        connection.execute(f"CREATE TEMP TABLE a ({names})".encode())
        with connection.cursor() as cursor, cursor.copy(b"COPY a FROM STDIN (FORMAT BINARY)") as copy:
            for block in binary_blocks(frame, EVENTS):
                copy.write(block)
        got = connection.execute(
            b"SELECT instrument, session, ts_recv, order_id, side FROM a ORDER BY sequence"
        ).fetchall()
    assert got == frame.select("instrument", "session", "ts_recv", "order_id", "side").rows()


def test_a_null_or_a_second_text_is_refused_before_anything_is_sent() -> None:
    frame = pl.DataFrame({"x": [1, None]}, schema={"x": pl.Int64})
    with pytest.raises(ValueError, match="x holds 1 null"):
        list(binary_blocks(frame, (("x", "bigint"),)))
    with pytest.raises(ValueError, match="t holds 2 texts"):
        list(binary_blocks(pl.DataFrame({"t": ["a", "b"]}), (("t", "text"),)))
    (signature, block, trailer) = binary_blocks(pl.DataFrame({"x": [5]}), (("x", "bigint"),))
    assert signature.startswith(b"PGCOPY\n\xff\r\n\x00")
    assert block == struct.pack(">hiq", 1, 8, 5)
    assert trailer == b"\xff\xff"


def test_passwords_are_never_shown() -> None:
    url = "postgresql://me:hunter2@127.0.0.1:1/db"
    assert without_password(url) == "postgresql://me:…@127.0.0.1:1/db"
    assert has_password(url)
    assert has_password("postgresql://me@host/db?password=hunter2")
    assert not has_password("postgresql://me@host/db")
    with pytest.raises(PostgresError) as raised:
        PostgresSink(url)
    assert "hunter2" not in str(raised.value)
    assert "127.0.0.1:1" in str(raised.value)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".json", ".jsonl", ".parquet"])
def test_files_hold_the_rows_of_the_store(root: DataRoot, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"trades{ending}"
    count = export_to_file(root, "trades", path, symbols=["ALFA"], first=DAYS[1], last=DAYS[1])
    readers = {".json": pl.read_json, ".jsonl": pl.read_ndjson, ".parquet": pl.read_parquet}
    found = readers.get(ending, pl.read_csv)(path)  # type: ignore[operator]  # one of polars' readers
    expected = lake.query(root, f"SELECT * FROM trades WHERE instrument = 'ALFA' AND session = DATE '{DAYS[1]}'")
    assert found.height == count == expected.height
    assert found["ts_recv"].to_list() == expected["ts_recv"].to_list()
    assert found["price"].to_list() == expected["price"].to_list()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_an_export_that_cannot_be_is_refused_with_what_can(root: DataRoot, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"ends in \.csv"):
        export_to_file(root, "trades", tmp_path / "trades.xlsx")
    with pytest.raises(ExportError, match="no table 'nothing'; this data root has events, instruments, trades"):
        export_to_file(root, "nothing", tmp_path / "x.csv")
    with pytest.raises(ExportError, match="unknown table 'quotes'"):
        export_to_postgres(root, "postgresql://nobody@127.0.0.1:1/x", tables=("quotes",))
    with pytest.raises(ExportError, match="no published events"):
        export_to_postgres(root, "postgresql://nobody@127.0.0.1:1/x", first=date(2030, 1, 1))
