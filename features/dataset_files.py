"""The dataset as files and as tensors: Parquet with a manifest of fingerprints, and torch views that copy nothing.

The file is for other programs: one row a decision, features by name. The manifest says which features, label, sessions
and instruments they are and what they were made from, and carries the content's hash, which loading checks.
"""

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import polars as pl

from features.dataset import Dataset
from marketdata.clock import Session
from marketdata.instruments import Instrument

if TYPE_CHECKING:
    import torch

TABLE_FILE: Final = "dataset.parquet"
MANIFEST_FILE: Final = "manifest.json"
FORMAT: Final = 1


class DatasetError(ValueError):
    """A folder holds no dataset, or one that was changed; the message names the file and what differs."""


def save_dataset(table: Dataset, folder: Path, made_from: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Write a dataset whole, then rename; an existing folder is replaced. Return its manifest.

    Parameters
    ----------
    made_from : mapping, optional
        What it was made from, JSON-able: hashes of the shares, the label, missing instruments with reasons.
    """
    names = _array_names()
    manifest = {
        "format": FORMAT,
        "rows": len(table),
        "labelled": int(table.labelled.sum()),
        "features": list(table.columns),
        "fingerprint": table.fingerprint,
        "memory_ns": table.memory_ns,
        "horizon_ns": table.horizon_ns,
        "sessions": [{**asdict(item), "date": item.date.isoformat()} for item in table.sessions],
        "instruments": [item.model_dump(mode="json") for item in table.instruments],
        "content_sha256": table.content_hash(),
        "made_from": dict(made_from or {}),
    }
    frame = pl.DataFrame(
        {name: getattr(table, name) for name in names}
        | {name: np.ascontiguousarray(table.x[:, k]) for k, name in enumerate(table.columns)}
    )
    staging = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    staging.mkdir(parents=True)
    try:
        frame.write_parquet(staging / TABLE_FILE, compression="zstd")
        (staging / MANIFEST_FILE).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return manifest


def open_dataset(folder: Path) -> Dataset:
    """Return the dataset in a folder made by :func:`save_dataset`, bit for bit.

    Raises
    ------
    DatasetError
        If a file is missing or damaged, the format is another, or the content is not what the manifest says.
    """
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        frame = pl.read_parquet(folder / TABLE_FILE)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise DatasetError(f"{folder} holds no readable dataset: {error}") from error
    if manifest.get("format") != FORMAT:
        raise DatasetError(f"{folder / MANIFEST_FILE} has format {manifest.get('format')}, not {FORMAT}")
    names, features = _array_names(), tuple(manifest["features"])
    if frame.columns != [*names, *features]:
        raise DatasetError(f"{folder / TABLE_FILE} has other columns than its manifest names")
    sessions = [
        Session(date.fromisoformat(item["date"]), item["open_ns"], item["close_ns"]) for item in manifest["sessions"]
    ]
    table = Dataset(
        columns=features,
        sessions=tuple(sessions),
        instruments=tuple(Instrument.model_validate(item) for item in manifest["instruments"]),
        memory_ns=manifest["memory_ns"],
        horizon_ns=manifest["horizon_ns"],
        fingerprint=manifest["fingerprint"],
        x=np.ascontiguousarray(frame.select(features).to_numpy(), dtype=np.float32),
        **{name: frame.get_column(name).to_numpy().copy() for name in names},
    )
    if table.content_hash() != manifest["content_sha256"]:
        raise DatasetError(f"{folder / TABLE_FILE} was changed since its manifest was written")
    return table


class DatasetTensors(NamedTuple):
    """Torch views of a dataset's arrays; writing to one writes to the dataset.

    Attributes
    ----------
    x : float32 tensor, shape (n, F)
    y : int8 tensor, shape (n,)
    ts_recv, ts_known : int64 tensors, shape (n,)
    instrument_id : int16 tensor, shape (n,)
    session : int32 tensor, shape (n,)
    move_units : float64 tensor, shape (n,)
    """

    x: "torch.Tensor"
    y: "torch.Tensor"
    ts_recv: "torch.Tensor"
    ts_known: "torch.Tensor"
    instrument_id: "torch.Tensor"
    session: "torch.Tensor"
    move_units: "torch.Tensor"


def as_tensors(table: Dataset) -> DatasetTensors:
    """Return the dataset for torch, without copying a byte.

    Raises
    ------
    ValueError
        If an array cannot be shared: read-only, or not contiguous.
    """
    import torch

    for name in DatasetTensors._fields:
        flags = getattr(table, name).flags
        if not (flags.writeable and flags.c_contiguous):
            raise ValueError(f"{name} of the dataset cannot be shared with torch: it is read-only or not contiguous")
    return DatasetTensors(*(torch.from_numpy(getattr(table, name)) for name in DatasetTensors._fields))


def _array_names() -> list[str]:
    """Return the names of a dataset's one-dimensional arrays, in order."""
    said = ("columns", "sessions", "instruments", "memory_ns", "horizon_ns", "fingerprint", "x")
    return [item.name for item in fields(Dataset) if item.name not in said]
