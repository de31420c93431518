"""The ledger says what the journal says, and can be read while it is written."""

import numpy as np
import pytest

from marketdata.paths import DataRoot
from serving.ledger_store import LedgerSession, LedgerStore, read_ledger
from serving.session import SessionResult
from tests.serving.conftest import World
from trading.journal import FILL, MARK, fills_frame, orders_frame


def test_fills_and_orders_equal_the_journal(world: World, traded: SessionResult) -> None:
    fills = read_ledger(world.root.ledger_database, "fills", traded.session_id)
    expected = fills_frame(traded.journal)
    for name in ("ts_ns", "venue_ns", "order_id", "side", "price_units", "size_lots", "fee_nanos", "position_lots"):
        assert fills[name].to_list() == expected[name].to_list(), name
    orders = read_ledger(world.root.ledger_database, "orders", traded.session_id)
    sent = orders_frame(traded.journal)
    for name in ("order_id", "ts_ns", "price_units", "size_lots", "filled_lots", "state", "tif"):
        assert orders[name].to_list() == sent[name].to_list(), name


def test_equity_and_positions_end_where_the_journal_ends(world: World, traded: SessionResult) -> None:
    equity = read_ledger(world.root.ledger_database, "equity", traded.session_id)
    marks = traded.journal[traded.journal["kind"] == MARK]
    assert equity["equity_nanos"].to_list() == marks["equity_nanos"].tolist()
    held = read_ledger(world.root.ledger_database, "positions", traded.session_id)
    fills = traded.journal[traded.journal["kind"] == FILL]
    for symbol, lots in held.select("symbol", "position_lots").iter_rows():
        number = world.settings.instrument(symbol).instrument_id
        own = fills[fills["instrument_id"] == number]
        assert lots == int((own["side"].astype(np.int64) * own["size_lots"]).sum())


def test_a_reader_sees_whole_batches_only(fresh_root: DataRoot, traded: SessionResult) -> None:
    store = LedgerStore(fresh_root.ledger_database, {0: "ALFA", 1: "BRAVO", 2: "CHARLIE"})
    store.begin(LedgerSession("s", "2026-01-07", "paper", "linear", "", 0, 1))
    half = len(traded.journal) // 2
    store.append("s", traded.journal[:half])
    first = read_ledger(fresh_root.ledger_database, "fills", "s").height
    assert first == int((traded.journal["kind"][:half] == FILL).sum())
    broken = traded.journal[:half]
    with pytest.raises(Exception, match="UNIQUE"):
        store.append("s", broken)
    assert read_ledger(fresh_root.ledger_database, "fills", "s").height == first
    store.append("s", traded.journal[half:])
    store.finish("s", "closed")
    store.close()
    assert read_ledger(fresh_root.ledger_database, "fills", "s").height == int((traded.journal["kind"] == FILL).sum())
    assert read_ledger(fresh_root.ledger_database, "sessions")["status"].to_list() == ["closed"]


def test_an_unknown_table_and_a_missing_ledger_are_named(fresh_root: DataRoot) -> None:
    with pytest.raises(ValueError, match="no table 'trades'"):
        read_ledger(fresh_root.ledger_database, "trades")
    with pytest.raises(FileNotFoundError, match="nothing was traded"):
        read_ledger(fresh_root.ledger_database, "fills")
