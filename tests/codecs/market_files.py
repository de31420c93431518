"""Small made-up files in vendors' formats: the layouts of the recorded ones, none of their rows."""

import gzip
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from marketdata.instruments import Instrument

DBN_SYMBOL, DBN_ID = "TST4", 77
DBN_START = 1_700_000_000_000_000_000


def instrument(symbol: str, step: float = 0.01, lot: float = 1.0, number: int = 3) -> Instrument:
    name = "".join(c if c.isalnum() or c in "_.-" else "_" for c in symbol)
    return Instrument(symbol=name, instrument_id=number, venue="x", unit_nanos=1, price_decimals=step, lot_size=lot)


def write_text(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


# Tardis ---------------------------------------------------------------------------------------------------------------

HEAD = "exchange,symbol,timestamp,local_timestamp"


def tardis_l2(folder: Path, rows: int = 300, seed: int = 1) -> Path:
    """Two symbols; a snapshot, changes, a second snapshot in the middle; amounts in exponents at times."""
    rng = np.random.default_rng(seed)
    lines, us = [f"{HEAD},is_snapshot,side,price,amount"], 1_600_000_000_000_000
    for k in range(rows):
        if k % 3 == 0:
            us += int(rng.integers(1, 90_000))
        symbol = "BTC-PERP" if (k // 3) % 4 else "ETH-PERP"
        snapshot = "true" if k < 24 or 150 <= k < 162 else "false"
        amount = "0" if rng.random() < 0.2 else str(rng.choice(["1e-05", "2.5", "10"]))
        side = str(rng.choice(["bid", "ask"]))
        price = 100 + int(rng.integers(0, 40)) / 2 * (-1 if side == "bid" else 1)
        lines.append(f"venue,{symbol},{us - 500},{us},{snapshot},{side},{price},{amount}")
    return write_text(folder / "venue_incremental_book_L2_2020-09-13_BTC-PERP.csv.gz", lines)


def tardis_snapshots(folder: Path, rows: int = 60, levels: int = 3, seed: int = 2) -> Path:
    rng = np.random.default_rng(seed)
    names = [f"{side}[{k}].{what}" for k in range(levels) for side in ("asks", "bids") for what in ("price", "amount")]
    lines = [",".join([HEAD, *names])]
    for k in range(rows):
        mid = 1_000 + int(rng.integers(0, 4))
        cells = []
        for level in range(levels):
            cells += [
                str((mid + 1 + level) / 2),
                str(int(rng.integers(1, 3))),
                str((mid - level) / 2),
                str(int(rng.integers(1, 3))),
            ]
        if k % 7 == 0:
            cells[-4:] = ["", "", "", ""]
        lines.append(",".join(["venue", "BTC-PERP", str(10**15 + k * 1_000), str(10**15 + k * 1_000 + 5), *cells]))
    return write_text(folder / "venue_book_snapshot_3_2020-09-13_BTC-PERP.csv", lines)


def tardis_trades(folder: Path) -> Path:
    lines = [f"{HEAD},id,side,price,amount"]
    for k, side in enumerate(("buy", "sell", "unknown")):
        lines.append(f"venue,BTC-PERP,{10**15 + k},{10**15 + k + 9},id{k},{side},{100.5 + k},2.5")
    return write_text(folder / "venue_trades_2020-09-13_BTC-PERP.csv.gz", lines)


def tardis_quotes(folder: Path) -> Path:
    lines = [
        f"{HEAD},ask_amount,ask_price,bid_price,bid_amount",
        f"venue,BTC-PERP,{10**15},{10**15 + 9},1,101.5,100.5,2.5",
    ]
    lines.append(f"venue,BTC-PERP,{10**15 + 1},{10**15 + 9},,,100,2.5")
    return write_text(folder / "venue_quotes_2020-09-13_BTC-PERP.csv", lines)


# Databento ------------------------------------------------------------------------------------------------------------


def dbn_file(path: Path, schema: str, records: list[Any], *, zipped: bool = True) -> Path:
    import databento_dbn as dbn
    import zstandard

    metadata = dbn.Metadata(
        dataset="GLBX.MDP3", start=DBN_START, stype_out=dbn.SType.INSTRUMENT_ID, stype_in=dbn.SType.RAW_SYMBOL,
        schema=dbn.Schema(schema), symbols=[DBN_SYMBOL], partial=[], not_found=[], mappings=[], ts_out=False, version=3,
    )  # fmt: skip
    mapping = dbn.SymbolMappingMsg(
        publisher_id=1, instrument_id=DBN_ID, ts_event=DBN_START, stype_in=dbn.SType.RAW_SYMBOL, stype_in_symbol=DBN_SYMBOL,
        stype_out=dbn.SType.RAW_SYMBOL, stype_out_symbol=DBN_SYMBOL, start_ts=DBN_START, end_ts=DBN_START,
    )  # fmt: skip
    raw = metadata.encode() + bytes(mapping) + b"".join(bytes(record) for record in records)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(zstandard.compress(raw) if zipped else raw)
    return path


def mbo(
    k: int, action: str, side: str, price: float, size: int, order: int, flags: int = 0, number: int = DBN_ID
) -> Any:
    import databento_dbn as dbn

    return dbn.MBOMsg(
        publisher_id=1, instrument_id=number, ts_event=DBN_START + k * 10, order_id=order, price=round(price * 10**9), size=size,
        channel_id=0, action=dbn.Action(action), side=dbn.Side(side), ts_recv=DBN_START + k * 10 + 4, flags=flags, ts_in_delta=1,
        sequence=1_000 + k,
    )  # fmt: skip


def mbp(
    k: int,
    action: str,
    side: str,
    price: float,
    size: int,
    levels: list[tuple[float, int, float, int]],
    flags: int = 128,
) -> Any:
    import databento_dbn as dbn

    kind = dbn.MBP10Msg if len(levels) == 10 else dbn.MBP1Msg
    pairs = [
        dbn.BidAskPair(
            bid_px=round(bid * 10**9) if bids else dbn.UNDEF_PRICE, ask_px=round(ask * 10**9) if asks else dbn.UNDEF_PRICE,
            bid_sz=bids, ask_sz=asks, bid_ct=1, ask_ct=1,
        )
        for bid, bids, ask, asks in levels
    ]  # fmt: skip
    body = {
        "publisher_id": 1, "instrument_id": DBN_ID, "ts_event": DBN_START + k * 10, "price": round(price * 10**9), "size": size,
        "action": dbn.Action(action), "side": dbn.Side(side), "depth": 0, "ts_recv": DBN_START + k * 10 + 4, "flags": flags,
        "ts_in_delta": 1, "sequence": 1_000 + k,
    }  # fmt: skip
    return kind(**body, levels=pairs if len(levels) == 10 else pairs[0])


# Shanghai -------------------------------------------------------------------------------------------------------------

ORDERS = (
    "DataStatus,OrderIndex,OrderChannel,SecurityID,OrderTime,OrderType,OrderNO,OrderPrice,Balance,OrderBSFlag,BizIndex,LocalTime,"
    "SeqNo"
)
TRADES = (
    "DataStatus,TradeIndex,TradeChan,SecurityID,TradTime,TradPrice,TradVolume,TradeMoney,TradeBuyNo,TradeSellNo,TradeBSFlag,BizIndex,"
    "LocalTime,SeqNo"
)


def sse_order(number: int, time: str, kind: str, order: int, price: str, lots: int, side: str) -> str:
    return f"0,1,6,600000,{time},{kind},{order},{price},{lots},{side},{number},{time},1"


def sse_trade(number: int, time: str, price: str, lots: int, buy: int, sell: int, flag: str) -> str:
    return f"0,1,6,600000,{time},{price},{lots},0,{buy},{sell},{flag},{number},{time},1"


def shanghai(folder: Path, orders: list[str], trades: list[str]) -> Path:
    write_text(folder / "600000_2023-02-01_entrust.csv.gz", [ORDERS, *orders])
    return write_text(folder / "600000_2023-02-01_trade.csv.gz", [TRADES, *trades])


# LEAN -----------------------------------------------------------------------------------------------------------------


def lean_zip(folder: Path, parts: str, name: str, members: dict[str, list[str]]) -> Path:
    path = folder / parts / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for member, lines in members.items():
            archive.writestr(member, "\n".join(lines) + "\n")
    return path
