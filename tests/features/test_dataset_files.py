"""A dataset goes to files and back bit for bit, refuses what was changed, and lies under torch without a copy."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.dataset import Dataset
from features.dataset_files import MANIFEST_FILE, TABLE_FILE, DatasetError, as_tensors, open_dataset, save_dataset
from tests.models.rows import small_dataset


@pytest.fixture(scope="module")
def table() -> Dataset:
    return small_dataset(sessions=2, rows=60)


def test_a_dataset_comes_back_bit_for_bit_with_its_fingerprints(table: Dataset, tmp_path: Path) -> None:
    manifest = save_dataset(table, tmp_path / "set", {"shares": {"2026-03-02": "abc"}})
    again = open_dataset(tmp_path / "set")
    assert again.content_hash() == table.content_hash() == manifest["content_sha256"]
    assert (again.columns, again.sessions, again.instruments) == (table.columns, table.sessions, table.instruments)
    for item in fields(Dataset):
        found, given = getattr(again, item.name), getattr(table, item.name)
        if isinstance(given, np.ndarray):
            assert found.dtype == given.dtype
            assert found.tobytes() == given.tobytes()
    written = json.loads((tmp_path / "set" / MANIFEST_FILE).read_text())
    assert written["made_from"] == {"shares": {"2026-03-02": "abc"}}
    assert written["fingerprint"] == table.fingerprint
    assert pl.read_parquet(tmp_path / "set" / TABLE_FILE)["depth_imbalance_l1"].dtype == pl.Float32
    save_dataset(table, tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_changed_or_missing_files_are_refused(table: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    with pytest.raises(DatasetError, match="holds no readable dataset"):
        open_dataset(folder)
    save_dataset(table, folder)
    frame = pl.read_parquet(folder / TABLE_FILE)
    frame.with_columns(pl.col("spread_bps") + 1).write_parquet(folder / TABLE_FILE)
    with pytest.raises(DatasetError, match="was changed since"):
        open_dataset(folder)
    frame.drop("spread_bps").write_parquet(folder / TABLE_FILE)
    with pytest.raises(DatasetError, match="other columns"):
        open_dataset(folder)
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest | {"format": 9}))
    with pytest.raises(DatasetError, match="format 9"):
        open_dataset(folder)


def test_tensors_share_the_datasets_memory(table: Dataset) -> None:
    mine = replace(table, **{name: getattr(table, name).copy() for name in ("x", "y")})
    tensors = as_tensors(mine)
    for name in tensors._fields:
        array = getattr(mine, name)
        assert getattr(tensors, name).data_ptr() == array.ctypes.data
        assert tuple(getattr(tensors, name).shape) == array.shape
    tensors.x[3, 2] = 42.0
    mine.y[5] = 1
    assert mine.x[3, 2] == 42.0
    assert int(tensors.y[5]) == 1
    with pytest.raises(ValueError, match="x of the dataset cannot be shared"):
        as_tensors(replace(mine, x=mine.x[:, ::2]))
