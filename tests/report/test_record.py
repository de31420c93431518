"""The record survives JSON unchanged and refuses what it is not."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from backtests.report.record import LeagueRow, NightRecord, RecordError, Status, load_record, save_record

SMALL = NightRecord(
    day=date(2025, 3, 7),
    source="simulated",
    status=Status(kind="refused", headline="No champion", reason="insufficient_evidence"),
    league=(LeagueRow(name="majority", kind="baseline", mcc=0.0, fold_mcc=(0.0, None)),),
)


def test_a_record_is_the_same_after_json(tmp_path: Path) -> None:
    path = tmp_path / "night" / "record.json"
    save_record(SMALL, path)
    assert load_record(path) == SMALL
    assert not path.with_name("record.json.tmp").exists()


def test_not_a_number_becomes_not_known(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    save_record(replace(SMALL, league=(LeagueRow(name="m", kind="candidate", mcc=float("nan")),)), path)
    assert load_record(path).league[0].mcc is None


@pytest.mark.parametrize("text", [b"{", b"{}", b'{"day": "2025-03-07", "source": 3, "status": {}}'])
def test_a_file_that_is_no_record_is_refused_by_name(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(text)
    with pytest.raises(RecordError, match=r"record\.json"):
        load_record(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"absent\.json"):
        load_record(tmp_path / "absent.json")
