"""The paper ledger in SQLite (WAL): sessions, orders, fills, equity, positions and risk events, written while trading.

The journal is the truth and replays; the ledger is what people and pages query while the executor runs. One transaction
a batch: a reader sees the state before a batch or after it; after a crash the ledger is made again from the journal.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import polars as pl

from trading.journal import (
    ACKNOWLEDGED,
    CANCELLED_ROW,
    FILL,
    MARK,
    MARK_INSTRUMENT,
    ORDER,
    REASON_NAMES,
    REJECTED_ROW,
    Journal,
    risk_frame,
)
from trading.orders import STATE_NAMES, TIF_NAMES

Mode = Literal["paper", "shadow"]

TABLES: Final = ("sessions", "orders", "fills", "equity", "positions", "risk_events")

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS sessions (
    session_id TEXT PRIMARY KEY, day TEXT NOT NULL, mode TEXT NOT NULL, model TEXT NOT NULL,
    bundle_sha256 TEXT NOT NULL, open_ns INTEGER NOT NULL, close_ns INTEGER NOT NULL, status TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS orders (
    session_id TEXT NOT NULL, order_id INTEGER NOT NULL, ts_ns INTEGER NOT NULL, arrive_ns INTEGER NOT NULL,
    symbol TEXT NOT NULL, side INTEGER NOT NULL, tif TEXT NOT NULL, price_units INTEGER NOT NULL,
    size_lots INTEGER NOT NULL, filled_lots INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (session_id, order_id)
) STRICT;
CREATE TABLE IF NOT EXISTS fills (
    session_id TEXT NOT NULL, sequence INTEGER NOT NULL, ts_ns INTEGER NOT NULL, venue_ns INTEGER NOT NULL,
    order_id INTEGER NOT NULL, symbol TEXT NOT NULL, side INTEGER NOT NULL, price_units INTEGER NOT NULL,
    size_lots INTEGER NOT NULL, fee_nanos INTEGER NOT NULL, maker INTEGER NOT NULL, position_lots INTEGER NOT NULL,
    PRIMARY KEY (session_id, sequence)
) STRICT;
CREATE TABLE IF NOT EXISTS equity (
    session_id TEXT NOT NULL, ts_ns INTEGER NOT NULL, equity_nanos INTEGER NOT NULL, cash_nanos INTEGER NOT NULL,
    fee_nanos INTEGER NOT NULL, PRIMARY KEY (session_id, ts_ns)
) STRICT;
CREATE TABLE IF NOT EXISTS positions (
    session_id TEXT NOT NULL, symbol TEXT NOT NULL, ts_ns INTEGER NOT NULL, position_lots INTEGER NOT NULL,
    cash_nanos INTEGER NOT NULL, equity_nanos INTEGER NOT NULL, fee_nanos INTEGER NOT NULL,
    PRIMARY KEY (session_id, symbol)
) STRICT;
CREATE TABLE IF NOT EXISTS risk_events (
    session_id TEXT NOT NULL, sequence INTEGER NOT NULL, ts_ns INTEGER NOT NULL, kind TEXT NOT NULL,
    reason TEXT NOT NULL, symbol TEXT NOT NULL, order_id INTEGER NOT NULL, side INTEGER NOT NULL,
    size_lots INTEGER NOT NULL,
    PRIMARY KEY (session_id, sequence)
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class LedgerSession:
    """One session of the ledger: who traded what, and in which mode."""

    session_id: str
    day: str
    mode: Mode
    model: str
    bundle_sha256: str
    open_ns: int
    close_ns: int


class LedgerStore:
    """A writer of a ledger. The night and the live executor may write at once, each its own sessions; any number read.

    Parameters
    ----------
    path : Path
        SQLite file; made when it is not there.
    symbols : mapping of int to str
        Symbol of each instrument id.
    """

    def __init__(self, path: Path, symbols: Mapping[int, str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._symbols = dict(symbols)
        self._database = sqlite3.connect(path, isolation_level=None, timeout=30.0, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def begin(self, session: LedgerSession, status: str = "running") -> None:
        """Open a session; what an earlier run of the same ``session_id`` left is removed."""
        with self._transaction():
            for table in TABLES:
                self._database.execute(f"DELETE FROM {table} WHERE session_id = ?", (session.session_id,))
            self._database.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    session.session_id,
                    session.day,
                    session.mode,
                    session.model,
                    session.bundle_sha256,
                    session.open_ns,
                    session.close_ns,
                    status,
                ),
            )

    def finish(self, session_id: str, status: str) -> None:
        """Write how the session ended (``closed``, ``stopped``, ``replaced``, ``failed: …``)."""
        self._database.execute("UPDATE sessions SET status = ? WHERE session_id = ?", (status, session_id))

    def mark_interrupted(self, prefix: str) -> None:
        """Mark sessions whose id begins so and that still count as running: their writer was killed."""
        self._database.execute(
            "UPDATE sessions SET status = 'interrupted' WHERE status = 'running' AND session_id LIKE ?", (prefix + "%",)
        )

    def append(self, session_id: str, rows: Journal) -> None:
        """Add journal rows to the session, all of them or none."""
        if not len(rows):
            return
        with self._transaction():
            self._orders(session_id, rows)
            self._fills(session_id, rows[rows["kind"] == FILL])
            marks = rows[rows["kind"] == MARK]
            self._database.executemany(
                "INSERT OR REPLACE INTO equity VALUES (?, ?, ?, ?, ?)",
                [(session_id, *_ints(m, "ts_ns", "equity_nanos", "cash_nanos", "fee_nanos")) for m in marks],
            )
            self._positions(session_id, rows[rows["kind"] == MARK_INSTRUMENT])
            self._risk(session_id, rows)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def _orders(self, session_id: str, rows: Journal) -> None:
        sent = rows[rows["kind"] == ORDER]
        self._database.executemany(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, '')",
            [
                (
                    session_id,
                    *_ints(o, "order_id", "ts_ns", "venue_ns"),
                    self._symbol(o),
                    int(o["side"]),
                    TIF_NAMES[o["tif"]],
                    *_ints(o, "price_units", "size_lots"),
                    STATE_NAMES[1],
                )
                for o in sent
            ],
        )
        answers = rows[np.isin(rows["kind"], (ACKNOWLEDGED, FILL, CANCELLED_ROW, REJECTED_ROW))]
        self._database.executemany(
            "UPDATE orders SET filled_lots = filled_lots + ?, state = ?, reason = ? "
            "WHERE session_id = ? AND order_id = ?",
            [
                (
                    int(a["size_lots"]) if a["kind"] == FILL else 0,
                    STATE_NAMES[a["state"]],
                    REASON_NAMES[a["reason"]] if a["kind"] in (CANCELLED_ROW, REJECTED_ROW) else "",
                    session_id,
                    int(a["order_id"]),
                )
                for a in answers
            ],
        )

    def _fills(self, session_id: str, fills: Journal) -> None:
        self._database.executemany(
            "INSERT INTO fills VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    session_id,
                    *_ints(f, "sequence", "ts_ns", "venue_ns", "order_id"),
                    self._symbol(f),
                    *_ints(f, "side", "price_units", "size_lots", "fee_nanos"),
                    int(f["flag"] == 1),
                    int(f["position_lots"]),
                )
                for f in fills
            ],
        )

    def _positions(self, session_id: str, marks: Journal) -> None:
        names = ("ts_ns", "position_lots", "cash_nanos", "equity_nanos", "fee_nanos")
        self._database.executemany(
            "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(session_id, self._symbol(m), *_ints(m, *names)) for m in marks],
        )

    def _risk(self, session_id: str, rows: Journal) -> None:
        names = ("sequence", "ts_ns", "kind", "reason", "instrument_id", "order_id", "side", "size_lots")
        self._database.executemany(
            "INSERT INTO risk_events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (session_id, sequence, ts, kind, reason, self._symbols.get(instrument, ""), order, side, lots)
                for sequence, ts, kind, reason, instrument, order, side, lots in risk_frame(rows)
                .select(names)
                .iter_rows()
            ],
        )

    def _symbol(self, row: np.void) -> str:
        return self._symbols.get(int(row["instrument_id"]), "")


def _ints(row: np.void, *names: str) -> Sequence[int]:
    return [int(row[name]) for name in names]


def read_ledger(path: Path, table: str, session_id: str | None = None) -> pl.DataFrame:
    """Return a table of the ledger, of one session or of all.

    Raises
    ------
    ValueError
        If there is no such table.
    FileNotFoundError
        If nothing was ever traded on this root.
    """
    if table not in TABLES:
        raise ValueError(f"the ledger has no table {table!r}; it has {', '.join(TABLES)}")
    if not path.exists():
        raise FileNotFoundError(f"{path}: nothing was traded on this data root yet")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30.0)) as database:
        where, given = ("WHERE session_id = ?", (session_id,)) if session_id is not None else ("", ())
        cursor = database.execute(f"SELECT * FROM {table} {where} ORDER BY rowid", given)
        names = [item[0] for item in cursor.description]
        return pl.DataFrame(cursor.fetchall(), schema=names, orient="row", infer_schema_length=None)
