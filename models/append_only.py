"""SQLite files that only grow: WAL, one writer at a time, hash-chained rows, no update and no delete."""

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

GENESIS: Final = "0" * 64
"""What the first row of a chain names as its predecessor."""
BUSY_SECONDS: Final = 30.0


def canonical_json(value: Mapping[str, Any]) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN.

    Raises
    ------
    ValueError
        If a number is NaN or infinite.
    TypeError
        If a value is no JSON type.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_text(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def append_only_triggers(table: str) -> str:
    """Return the SQL that makes a table refuse updates and deletes."""
    return "".join(
        f"CREATE TRIGGER IF NOT EXISTS {table}_no_{verb} BEFORE {verb.upper()} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;\n"
        for verb in ("update", "delete")
    )


def has_table(path: Path, table: str) -> bool:
    """Return whether the file exists and holds the table (another process may be about to create it)."""
    if not path.exists():
        return False
    with reading(path) as database:
        return database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is not None


def create_database(path: Path, schema: str) -> None:
    """Create the file with its tables, or leave it as it is; safe when several processes do it at once.

    Parameters
    ----------
    schema : str
        ``CREATE … IF NOT EXISTS`` statements.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        connection = _connect(path)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(f"BEGIN IMMEDIATE;\n{schema}\nCOMMIT;")
            return
        except sqlite3.OperationalError as error:
            # Changing the journal mode does not wait for a lock as everything else does.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        finally:
            connection.close()


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file for one write transaction that excludes every other writer from its first read on."""
    connection = _connect(_existing(path))
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
    finally:
        connection.close()


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file for reading."""
    connection = _connect(_existing(path))
    try:
        connection.execute("PRAGMA query_only=ON")
        yield connection
    finally:
        connection.close()


def _existing(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; run `flowsense init` first")
    return path


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA synchronous=FULL")
    return connection
