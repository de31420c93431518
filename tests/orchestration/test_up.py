"""The supervisor: everything it starts, it stops; a taken port is said before anything starts."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from marketdata.paths import DataRoot, default_root
from models.tracking_server import server_command, server_environment
from orchestration.up import Ports, PortTaken, Service, Supervisor, platform_services, require_free_ports

SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, subprocess, sys, time;"
    "signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    "print('up', flush=True); time.sleep(600)"
)


def children() -> set[int]:
    return {p.pid for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE}


def wait_for(condition, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_stopping_leaves_no_process_even_of_services_that_ignore_signals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.up.INT_GRACE_S", 0.5)
    monkeypatch.setattr("orchestration.up.TERM_GRACE_S", 0.5)
    before = children()
    lines: list[str] = []
    services = [Service("kind", [sys.executable, "-c", SLEEPER]), Service("stubborn", [sys.executable, "-c", STUBBORN])]
    supervisor = Supervisor(services, tmp_path, lines.append)
    supervisor.start()
    assert wait_for(lambda: sum("up" in line for line in lines) == 2)
    assert len(children() - before) >= 3
    threading.Timer(0.1, supervisor.request_stop).start()
    assert supervisor.run() == 0
    assert wait_for(lambda: children() <= before)
    assert "up" in (tmp_path / "stubborn.log").read_text()


def test_the_first_service_to_die_stops_the_others_and_gives_its_status(tmp_path: Path) -> None:
    lines: list[str] = []
    services = [
        Service("lives", [sys.executable, "-c", SLEEPER]),
        Service("dies", [sys.executable, "-c", "import sys; print('bad luck'); sys.exit(7)"]),
    ]
    supervisor = Supervisor(services, tmp_path, lines.append)
    supervisor.start()
    assert supervisor.run() == 7
    assert any("dies ended with status 7" in line for line in lines)
    assert any(line.startswith("dies") and "bad luck" in line for line in lines)


def test_a_taken_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        service = Service("mlflow", [sys.executable, "-c", f"open({str(tmp_path / 'ran')!r}, 'w')"], port=port)
        with pytest.raises(PortTaken, match=rf"port {port} \(mlflow\) is taken"):
            Supervisor([service], tmp_path, print).start()
        with pytest.raises(PortTaken):
            require_free_ports([service])
    assert not (tmp_path / "ran").exists()
    assert os.getpid() not in children()


def test_the_services_of_a_relative_root_get_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLOWSENSE_ROOT", raising=False)
    assert default_root().path.is_absolute()
    root = DataRoot(Path("var") / "simulated")
    root.dagster_home.mkdir(parents=True)
    for service in platform_services(root, Ports(), speed=20.0, feed="simulator"):
        assert Path(service.env["DAGSTER_HOME"]).is_absolute()
        assert Path(service.env["FLOWSENSE_ROOT"]).is_absolute()


def test_mlflow_is_served_as_its_own_command_line_would(tmp_path: Path) -> None:
    """What ``mlflow server`` hands to uvicorn in this version; the command itself stays in memory for nothing."""
    code = (
        "import json, sys; import mlflow.server; from click.testing import CliRunner; from mlflow.cli import cli; made = {}\n"
        "class Ended:\n    def wait(self): return 0\n"
        "def catch(command, extra_env, **_):\n    made.update(command=command, env=extra_env); return Ended()\n"
        "mlflow.server._exec_cmd = catch; root = sys.argv[1]\n"
        "where = ['--host', '127.0.0.1', '--port', '5000', '--workers', '1']\n"
        "store = ['--backend-store-uri', f'sqlite:///{root}/mlflow.db', '--artifacts-destination', f'{root}/mlartifacts']\n"
        "CliRunner().invoke(cli, ['server', *where, *store]); print(json.dumps(made))"
    )
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    theirs = json.loads(found.splitlines()[-1])
    assert theirs["command"] == server_command(sys.executable, "127.0.0.1", 5000)
    ours = server_environment(DataRoot(tmp_path))
    defaults = {"MLFLOW_SERVER_SECRETS_CACHE_TTL", "MLFLOW_SERVER_SECRETS_CACHE_MAX_SIZE", "_MLFLOW_SERVER_BOOT_ID"}
    expected = {name: value for name, value in theirs["env"].items() if name not in defaults}
    assert {name: ours.get(name) for name in expected} == expected
    assert set(ours) - set(expected) == {"_MLFLOW_SERVER_BOOT_ID", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"}


def test_a_service_that_comes_after_another_waits_until_it_takes_connections(tmp_path: Path) -> None:
    port = _free_port()
    slow = (
        "import socket, time; time.sleep(1.0); s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1);"
        f"s.bind(('127.0.0.1', {port})); s.listen(); time.sleep(600)"
    )
    needs = f"import socket, time; socket.create_connection(('127.0.0.1', {port})); print('met', flush=True); time.sleep(600)"
    lines: list[str] = []
    services = [
        Service("slow", [sys.executable, "-c", slow], port=port, health=None),
        Service("needs", [sys.executable, "-c", needs], after="slow"),
    ]
    supervisor = Supervisor(services, tmp_path, lines.append)
    try:
        supervisor.start()
        assert wait_for(lambda: any("met" in line for line in lines))
        assert supervisor.wait_ready(5.0) == []
    finally:
        supervisor.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
