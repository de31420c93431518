"""What a person tells the executor from the command line lies in the log that it reads."""

import pytest
from typer.testing import CliRunner

from marketdata.paths import DataRoot
from marketdata.settings import save_settings
from orchestration.cli.main import app, expected_errors
from serving.heartbeat import write_heartbeat
from serving.instructions import InstructionError, read_instructions
from tests.small_world import small_settings


@pytest.fixture
def root(tmp_path) -> DataRoot:
    root = DataRoot(tmp_path / "root")
    root.path.mkdir()
    save_settings(small_settings(), root.settings_file)
    return root


def flowsense(root: DataRoot, *arguments: str):
    return CliRunner().invoke(app, ["--root", str(root.path), *arguments])


def test_kill_pause_resume_and_rearm_are_written_down_with_who_and_why(root):
    said = [
        flowsense(root, "kill", "--by", "ann", "--reason", "wrong prices"),
        flowsense(root, "pause", "--by", "ann", "--reason", "maintenance", "--hold"),
        flowsense(root, "resume", "--by", "ann", "--reason", "done"),
        flowsense(root, "rearm", "--by", "bob", "--reason", "prices are right"),
    ]
    assert [result.exit_code for result in said] == [0, 0, 0, 0]
    assert "the next one obeys it" in said[0].output
    given = [(item.verb, item.by, item.flatten) for item in read_instructions(root)]
    assert given == [("kill", "ann", True), ("pause", "ann", False), ("resume", "ann", True), ("rearm", "bob", True)]


def test_a_running_executor_is_said_to_obey_at_once(root):
    write_heartbeat(root, {})
    assert "within a second" in flowsense(root, "pause", "--reason", "lunch").output


def test_a_rearm_without_a_name_or_a_reason_is_refused(root):
    assert flowsense(root, "rearm", "--reason", "why not").exit_code == 2
    refused = flowsense(root, "rearm", "--by", "ann", "--reason", " ")
    assert isinstance(refused.exception, InstructionError)
    assert InstructionError in expected_errors()
    assert read_instructions(root) == []
