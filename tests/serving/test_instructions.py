"""Scales and deposits are instructions like any other: named, logged, and what stands is told to the next session."""

from pathlib import Path

import pytest

from marketdata.paths import DataRoot
from serving.instructions import CONTROL_IDS, InstructionError, as_controls, instruct, read_instructions, standing
from trading.controls import DEPOSIT, SIZE_SCALE


def test_a_scale_and_a_deposit_become_controls(tmp_path: Path) -> None:
    root = DataRoot(tmp_path)
    instruct(root, "scale", "ann", "wild open", value=500_000, instrument_id=2)
    instruct(root, "deposit", "ann", "withdrawal", value=-5 * 10**9)
    made = as_controls(read_instructions(root), 77)
    assert made["kind"].tolist() == [SIZE_SCALE, DEPOSIT]
    assert made["value"].tolist() == [500_000, -5 * 10**9]
    assert made["instrument_id"].tolist() == [2, -1]
    assert made["control_id"].tolist() == [CONTROL_IDS + 1, CONTROL_IDS + 2]


def test_scales_stand_for_the_next_session_and_deposits_do_not(tmp_path: Path) -> None:
    root = DataRoot(tmp_path)
    for share, number in ((500_000, 1), (250_000, 1), (800_000, 2)):
        instruct(root, "scale", "ann", "why", value=share, instrument_id=number)
    instruct(root, "deposit", "ann", "why", value=1)
    instruct(root, "pause", "ann", "why")
    given = read_instructions(root)
    assert [(i.verb, i.value) for i in standing(given, len(given))] == [
        ("scale", 250_000),
        ("scale", 800_000),
        ("pause", 0),
    ]
    instruct(root, "scale", "ann", "all of it again", value=1_000_000)
    given = read_instructions(root)
    assert [i.value for i in standing(given, len(given)) if i.verb == "scale"] == [1_000_000]


def test_what_makes_no_sense_is_not_written_down(tmp_path: Path) -> None:
    root = DataRoot(tmp_path)
    with pytest.raises(InstructionError, match="million"):
        instruct(root, "scale", "ann", "why", value=1_000_001)
    with pytest.raises(InstructionError, match="amount"):
        instruct(root, "deposit", "ann", "why")
    assert read_instructions(root) == []
