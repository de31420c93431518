"""Dagster's SQLite history with engines that are kept: the same files and tables, in a fraction of the time an event.

Dagster makes a new SQLAlchemy engine for every connection, and a connection for every event: each one configures a dialect and
compiles its statements anew. Here one engine serves all runs' files, and the shared files keep their connections open. Nothing
else differs, so any Dagster process can work on the same files at the same time, with this storage or with Dagster's own.

A forked process must not touch a SQLite connection of its parent, nor close it: it leaves them where they are and opens its own.
"""

import os
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

from dagster import StringSource
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sqlite import create_db_conn_string
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.pool import NullPool

BUSY_TIMEOUT_S: Final = 30.0
"""How long a writer waits for another's turn; Dagster's own value for event logs."""


class KeptEngine:
    """One file through one engine, made when it is first needed and made anew in a forked process.

    Parameters
    ----------
    url : str
        SQLAlchemy address of the file.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine: Engine | None = None
        self._lock = threading.Lock()
        _kept.add(self)

    def get(self) -> Engine:
        """Return the engine."""
        with self._lock:
            if self._engine is None:
                options = {"timeout": BUSY_TIMEOUT_S}
                self._engine = create_engine(self._url, connect_args=options, pool_size=4, max_overflow=16)
            return self._engine

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open a transaction; it is committed at the end of the block, or rolled back by an exception."""
        with self.get().connect() as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def leave_to_parent(self) -> None:
        """Forget, in a forked process, what the parent goes on using."""
        if self._engine is not None:
            _of_parents.append(self._engine)
        self._engine, self._lock = None, threading.Lock()


class EventLog(SqliteEventLogStorage):
    """One file a run, and an index over all of them."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._shard_path = ""
        self._empty_shard = b""
        self._tables: set[str] = set()
        self._of_runs = create_engine("sqlite://", creator=self._open_shard, poolclass=NullPool)
        self._of_index = KeptEngine(create_db_conn_string(base_dir, INDEX_SHARD_NAME))
        super().__init__(base_dir, inst_data)
        _logs.add(self)

    def _open_shard(self) -> sqlite3.Connection:
        return sqlite3.connect(self._shard_path, timeout=BUSY_TIMEOUT_S, check_same_thread=False)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            if shard == INDEX_SHARD_NAME:
                engine = self._of_index.get()
            else:
                self._shard_path = self.path_for_shard(shard)
                engine = self._of_runs
            if shard not in self._initialized_dbs:
                if shard == INDEX_SHARD_NAME:
                    self._initdb(engine)
                else:
                    self._make_shard()
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _make_shard(self) -> None:
        """Make the file of a new run as a copy of the first one, which Dagster's migrations made; check one that is there."""
        path = Path(self._shard_path)
        if self._empty_shard and not path.exists():
            temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.new")
            temporary.write_bytes(self._empty_shard)
            try:
                os.link(temporary, path)
                return
            except FileExistsError:  # another process was first
                pass
            finally:
                temporary.unlink()
        is_new = not path.exists()
        self._initdb(self._of_runs)
        if is_new and not self._empty_shard:
            with closing(self._open_shard()) as made:
                self._empty_shard = made.serialize()

    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table; once there, a table stays."""
        if table_name not in self._tables:
            with self._of_index.get().connect() as connection:  # without the lock: asked for inside of transactions
                if not connection.dialect.has_table(connection, table_name):
                    return False
            self._tables.add(table_name)
        return True

    def dispose(self) -> None:
        """Close the index."""
        super().dispose()
        self._of_index.close()


class RunHistory(SqliteRunStorage):
    """Runs, their tags and backfills."""

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._kept = KeptEngine(conn_string)
        super().__init__(conn_string, inst_data)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Open a transaction."""
        with self._kept.transaction() as connection:
            yield connection

    def dispose(self) -> None:
        """Close the file."""
        self._kept.close()


class ScheduleHistory(SqliteScheduleStorage):
    """Ticks and states of schedules and sensors."""

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._kept = KeptEngine(conn_string)
        super().__init__(conn_string, inst_data)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Open a transaction."""
        with self._kept.transaction() as connection:
            yield connection

    def dispose(self) -> None:
        """Close the file."""
        self._kept.close()


class HistoryStorage(DagsterSqliteStorage):
    """What Dagster calls its storage, below one base folder laid out as Dagster lays it out."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)  # makes and migrates the files as Dagster does
        history = Path(base_dir) / "history"
        self._run_storage = RunHistory(create_db_conn_string(str(history), "runs"))
        self._event_log_storage = EventLog(str(history / "runs"))
        self._schedule_storage = ScheduleHistory(create_db_conn_string(str(Path(base_dir) / "schedules"), "schedules"))

    @classmethod
    def config_type(cls) -> Any:
        """Return the form of its configuration: the base folder."""
        return {"base_dir": StringSource}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> "HistoryStorage":
        """Return the storage that ``dagster.yaml`` asks for."""
        return cls(inst_data=inst_data, **config_value)


_kept: "WeakSet[KeptEngine]" = WeakSet()
_logs: "WeakSet[EventLog]" = WeakSet()
_of_parents: list[Engine] = []
"""Engines of processes that this one was forked from: never used, and never closed either."""


def _after_fork() -> None:
    for engine in list(_kept):
        engine.leave_to_parent()
    for log in list(_logs):
        log._db_lock = threading.Lock()  # whoever held it is not in this process


os.register_at_fork(after_in_child=_after_fork)
