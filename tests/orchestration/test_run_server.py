"""The run server: a forked process a run, that can be asked after, interrupted, and never becomes a second server."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.run_server import RunServer, ask, run_socket

SERVER = """
import json, os, signal, sys, time
from pathlib import Path
from orchestration.run_server import RunServer

def execute(arguments):
    work = json.loads(arguments)
    Path(work["file"]).write_text(f"{os.getpid()} {os.getppid()} {sys.modules.get('colorsys') is not None}")
    try:
        time.sleep(work["sleep"])
    except KeyboardInterrupt:
        return 9
    if work.get("crash"):
        raise RuntimeError("broken")
    return work["status"]

def prepare():
    import colorsys

server = RunServer(Path(sys.argv[1]), execute, prepare)
signal.signal(signal.SIGINT, server.stop)
server.serve()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Any]:
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(tmp_path)])
    assert waits_for(lambda: ask(tmp_path, {"do": "status", "run_id": "none"}) is not None)
    yield process
    process.kill()
    process.wait()
    run_socket(tmp_path).unlink(missing_ok=True)


def waits_for(condition, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def launch(home: Path, run_id: str, **work: Any) -> int:
    arguments = json.dumps({"file": str(home / run_id), "sleep": 0, "status": 0, **work})
    answer = ask(home, {"do": "launch", "run_id": run_id, "arguments": arguments})
    assert answer is not None
    return int(answer["pid"])


def status(home: Path, run_id: str) -> dict[str, Any]:
    answer = ask(home, {"do": "status", "run_id": run_id})
    assert answer is not None
    return answer


def test_a_run_is_a_process_of_its_own_that_has_what_the_server_imported(server, tmp_path):
    pid = launch(tmp_path, "one", status=3)
    assert waits_for(lambda: status(tmp_path, "one")["exit"] == 3)
    assert (tmp_path / "one").read_text() == f"{pid} {server.pid} True"
    assert status(tmp_path, "one")["pid"] is None


def test_runs_stand_beside_each_other_and_one_is_interrupted_alone(server, tmp_path):
    long = [launch(tmp_path, name, sleep=60) for name in ("a", "b")]
    assert waits_for(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists())
    assert ask(tmp_path, {"do": "terminate", "run_id": "a"})["pid"] == long[0]
    assert waits_for(lambda: status(tmp_path, "a")["exit"] == 9)
    assert status(tmp_path, "b") == {"pid": long[1], "exit": None}
    ask(tmp_path, {"do": "terminate", "run_id": "b"})
    assert waits_for(lambda: status(tmp_path, "b")["exit"] == 9)


def test_a_run_that_crashes_ends_alone_and_its_status_says_so(server, tmp_path):
    launch(tmp_path, "bad", crash=True)
    assert waits_for(lambda: status(tmp_path, "bad")["exit"] == 1)
    launch(tmp_path, "killed", sleep=60)
    os.kill(int(status(tmp_path, "killed")["pid"]), 9)
    assert waits_for(lambda: status(tmp_path, "killed")["exit"] == -9)
    assert server.poll() is None


def test_nonsense_gets_no_answer_and_stops_nothing(server, tmp_path):
    with pytest.raises(ValueError, match="ended within a line"):
        ask(tmp_path, {"neither": "verb"})
    assert status(tmp_path, "x") == {"pid": None, "exit": None}


def test_a_home_has_one_server_and_its_socket_is_the_owner_s(server, tmp_path):
    with pytest.raises(OSError, match="is running already"):
        RunServer(tmp_path, lambda arguments: 0, lambda: None).serve()
    assert run_socket(tmp_path).stat().st_mode & 0o077 == 0


def test_without_a_server_the_question_is_not_answered_and_a_dead_one_s_socket_is_replaced(tmp_path):
    assert ask(tmp_path, {"do": "status", "run_id": "x"}) is None
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(run_socket(tmp_path)))
    left.close()
    assert ask(tmp_path, {"do": "status", "run_id": "x"}) is None
    server = RunServer(tmp_path, lambda arguments: 0, lambda: None)
    thread = threading.Thread(target=server.serve)
    thread.start()
    assert waits_for(lambda: ask(tmp_path, {"do": "status", "run_id": "x"}) is not None)
    server.stop()
    thread.join(timeout=5)
    assert not run_socket(tmp_path).exists()
