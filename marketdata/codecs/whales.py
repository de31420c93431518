"""Bitcoin transactions of 200 BTC and more, classified against the exchange list of their own day.

A transfer counts as known :data:`CONFIRM_NS` after its time stamp, six confirmations. The recorded classification is
the label as it was known then (never re-labelled with a later list), so it is known since the transfer itself is.
Unclassified transfers carry no label. The recording is a sample: quiet hours and some days are missing.

``dormant_days`` is the time since one of the sending addresses last received coins in an earlier transfer of the recording, null
where none did: smaller receipts are not recorded, so coins may have rested for less.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import polars as pl

from marketdata.clock import NS_PER_DAY, NS_PER_HOUR
from marketdata.codecs.deribit import utc_ns
from marketdata.codecs.tables import FLOAT, TEXT, SourceError, read_table
from marketdata.slow_data import NEVER, ONCHAIN, slow_frame

CONFIRM_NS: Final = 1 * NS_PER_HOUR
FOLDER: Final = "onchain/btc_whales_2026"
SCHEMA: Final = {
    "txid": TEXT,
    "timestamp": TEXT,
    "value_btc": FLOAT,
    "fee_btc": FLOAT,
    "classification": TEXT,
    "exchange_details_json": TEXT,
    "vin_addresses_json": TEXT,
    "vout_addresses_json": TEXT,
}
NULLABLE: Final = ("exchange_details_json", "vin_addresses_json", "vout_addresses_json")
CLASSES: Final = ("inflow", "outflow", "mixed", "unknown")


def find_files(folders: Sequence[Path]) -> list[Path]:
    """Return the files of classified transfers.

    Raises
    ------
    SourceError
        If there is none.
    """
    paths = [path for folder in folders for path in sorted((folder / FOLDER).glob("whale_tx_2*.csv*"))]
    if not paths:
        raise SourceError(folders[0] / FOLDER / "whale_tx_START_END.csv.gz", "no such file")
    return paths


def read_transfers(path: Path) -> pl.DataFrame:
    """Return a file as slow raw transfers, sorted by ``ts_known``.

    Raises
    ------
    SourceError
        If it is malformed, or a classification or its details cannot be read.
    """
    return _read_transfers(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read_transfers(path: Path, modified_ns: int) -> pl.DataFrame:
    table = read_table(path, SCHEMA, header=True, nullable=NULLABLE)
    block = utc_ns(table, "timestamp", path)
    labels = [
        _labels(path, row, *values)
        for row, values in enumerate(table.select("classification", "exchange_details_json").iter_rows(), start=1)
    ]
    known = block + CONFIRM_NS
    labelled = pl.Series([bool(a or b) for a, b in labels], dtype=pl.Boolean)
    return slow_frame(
        ONCHAIN,
        pl.DataFrame(
            {
                "ts_known": known,
                "ts_block": block,
                "symbol": pl.Series(["BTC"] * table.height, dtype=pl.String),
                "tx_id": table["txid"],
                "amount": table["value_btc"],
                "from_label": pl.Series([a for a, _ in labels], dtype=pl.String),
                "to_label": pl.Series([b for _, b in labels], dtype=pl.String),
                "label_known_since": known.zip_with(labelled, pl.Series([NEVER] * table.height, dtype=pl.Int64)),
                "dormant_days": pl.Series(_dormant_days(path, table, block.to_list()), dtype=pl.Float64),
            }
        ),
    )


def _dormant_days(path: Path, table: pl.DataFrame, block: list[int]) -> list[float | None]:
    """Return how long the latest-fed of each transfer's senders had last received coins before, None where none is known."""
    senders, receivers = (
        [_addresses(path, row, name, text) for row, text in enumerate(table[name].to_list(), start=1)]
        for name in ("vin_addresses_json", "vout_addresses_json")
    )
    fed: dict[str, int] = {}
    found: list[float | None] = [None] * table.height
    for k in sorted(range(table.height), key=block.__getitem__):
        known = [fed[address] for address in senders[k] if fed.get(address, NEVER) < block[k]]
        if known:
            found[k] = (block[k] - max(known)) / NS_PER_DAY
        fed.update(dict.fromkeys(receivers[k], block[k]))
    return found


def _addresses(path: Path, row: int, name: str, text: str | None) -> list[str]:
    try:
        listed: list[dict[str, Any]] = json.loads(text or "[]")
        return [str(item["address"]) for item in listed if item.get("address")]
    except (ValueError, TypeError, AttributeError) as error:
        raise SourceError(path, "is no list of addresses", row=row, field=name) from error


def _labels(path: Path, row: int, classification: str, details: str | None) -> tuple[str, str]:
    """Return the exchange's name on the sending and on the receiving end; ``""`` where there is none."""
    if classification not in CLASSES:
        raise SourceError(path, f"{classification!r} is no class", row=row, field="classification")
    if classification == "unknown":
        return "", ""
    try:
        found: dict[str, Any] = json.loads(details or "")
        if "exchange_name" in found:
            sender = receiver = str(found["exchange_name"])
        else:
            sender = "+".join(sorted(set(found["outflow_exchanges"].values())))
            receiver = "+".join(sorted(set(found["inflow_exchanges"].values())))
    except (ValueError, KeyError, AttributeError) as error:
        raise SourceError(path, "names no exchange", row=row, field="exchange_details_json") from error
    if classification == "inflow":
        return "", receiver
    if classification == "outflow":
        return sender, ""
    return sender, receiver
