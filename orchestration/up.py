"""``flowsense up``: run every server of the platform in one terminal and leave nothing behind.

Each service runs in a process group of its own, so that one signal reaches it and everything it started. On Ctrl-C, on
SIGTERM and when any service dies, all groups get INT, after ten seconds TERM, and at last KILL. Lines of every service are
printed with its name and kept in the root's log folder.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from marketdata.paths import DataRoot
from models.tracking_server import server_command, server_environment

HOST = "127.0.0.1"
INT_GRACE_S = 10.0
TERM_GRACE_S = 5.0
AFTER_WITHIN_S = 60.0
"""Longest wait for a service that another one needs."""


class PortTaken(RuntimeError):
    """A port that a service needs is in use; the message names port and service."""


@dataclass(frozen=True, slots=True)
class Service:
    """One process to supervise.

    Attributes
    ----------
    name : str
        Prefix of its lines and name of its log file.
    argv : sequence of str
        Command.
    port : int, optional
        Port it listens on, checked before anything starts.
    page : str, optional
        What a person opens there; None for services without a page.
    health : str, optional
        Path that answers below 500 once the service is up; None: it speaks no HTTP, and taking connections is enough.
    after : str, optional
        Name of an earlier service that has to be up before this one starts.
    env : mapping
        Further environment variables.
    """

    name: str
    argv: Sequence[str]
    port: int | None = None
    page: str | None = None
    health: str | None = "/"
    after: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Address of the service."""
        return f"http://{HOST}:{self.port}"


def require_free_ports(services: Sequence[Service]) -> None:
    """Raise :class:`PortTaken` naming the first port that something else listens on."""
    for service in services:
        if service.port is None:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, service.port))
            except OSError as error:
                raise PortTaken(
                    f"port {service.port} ({service.name}) is taken: stop what uses it or choose another, "
                    f"e.g. --{service.name}-port {service.port + 100}"
                ) from error


class Supervisor:
    """Starts services, passes their lines on, and stops all of them together."""

    def __init__(self, services: Sequence[Service], log_folder: Path, write: Callable[[str], None]) -> None:
        self._services = services
        self._folder = log_folder
        self._write = write
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._pumps: list[threading.Thread] = []
        self._stopping = threading.Event()

    def start(self) -> None:
        """Check the ports and start every service in order; one that comes after another waits until that one is up."""
        require_free_ports(self._services)
        self._folder.mkdir(parents=True, exist_ok=True)
        for service in self._services:
            if service.after is not None:
                self._wait(service.after)
            environment = {**os.environ, "PYTHONUNBUFFERED": "1", **service.env}
            process = subprocess.Popen(
                list(service.argv),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            self._running[service.name] = process
            assert process.stdout is not None
            pump = threading.Thread(target=self._pump, args=(service.name, process.stdout), daemon=True)
            pump.start()
            self._pumps.append(pump)

    def _wait(self, name: str) -> None:
        """Wait until a service is up, or there is no reason to wait any more."""
        (service,) = [service for service in self._services if service.name == name]
        deadline = time.monotonic() + AFTER_WITHIN_S
        while time.monotonic() < deadline and self.dead() is None and not _answers(service):
            if self._stopping.wait(0.1):
                return

    def wait_ready(self, timeout_s: float) -> list[str]:
        """Wait until every service with a port answers; return the names of those that did not in time."""
        pending = [s for s in self._services if s.port is not None]
        deadline = time.monotonic() + timeout_s
        while pending and time.monotonic() < deadline and not self._stopping.is_set() and self.dead() is None:
            pending = [s for s in pending if not _answers(s)]
            if pending:
                self._stopping.wait(0.25)
        return [s.name for s in pending]

    def run(self) -> int:
        """Wait for a stop signal or the first death; stop all; return the exit code (0 after a signal)."""
        code = 0
        while not self._stopping.wait(0.25):
            fallen = self.dead()
            if fallen is not None:
                name, status = fallen
                self._write(f"flowsense: {name} ended with status {status}; stopping the others")
                code = status if status > 0 else 128 - status if status < 0 else 1
                break
        self.stop()
        return code

    def dead(self) -> tuple[str, int] | None:
        """Return (name, exit status) of the first service that has ended, or None."""
        for name, process in self._running.items():
            status = process.poll()
            if status is not None:
                return name, status
        return None

    def request_stop(self) -> None:
        """Ask :meth:`run` to stop; safe in a signal handler."""
        self._stopping.set()

    def stop(self) -> None:
        """Stop every process group: INT, then TERM, then KILL; return when none is left."""
        self._stopping.set()
        for number, grace in ((signal.SIGINT, INT_GRACE_S), (signal.SIGTERM, TERM_GRACE_S), (signal.SIGKILL, 5.0)):
            alive = [p for p in self._running.values() if _group_alive(p)]
            if not alive:
                break
            for process in alive:
                _signal_group(process, number)
            deadline = time.monotonic() + grace
            while time.monotonic() < deadline and any(_group_alive(p) for p in alive):
                time.sleep(0.1)
        for pump in self._pumps:
            pump.join(timeout=2)

    def _pump(self, name: str, stream: IO[str]) -> None:
        with stream, (self._folder / f"{name}.log").open("a", encoding="utf-8") as log:
            for line in stream:
                log.write(line)
                log.flush()
                self._write(f"{name:<9}| {line.rstrip()}")


def _answers(service: Service) -> bool:
    try:
        if service.health is None:
            with socket.create_connection((HOST, service.port or 0), timeout=2):
                return True
        with urllib.request.urlopen(service.url + service.health, timeout=2) as reply:
            return int(reply.status) < 500
    except urllib.error.HTTPError as error:
        # 503 with a reason is how the prediction API answers before there is a champion: it is up.
        return error.code < 500 or error.code == 503
    except OSError:
        return False


def _signal_group(process: subprocess.Popen[str], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def _group_alive(process: subprocess.Popen[str]) -> bool:
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of the servers that `flowsense up` starts."""

    dagster: int = 3000
    mlflow: int = 5000
    api: int = 8000
    stream: int = 8765
    code: int = 3999


def platform_services(root: DataRoot, ports: Ports, *, speed: float, feed: str) -> list[Service]:
    """Return the services of a data root, in starting order.

    One code server is shared by the Dagster web server and daemon: each would otherwise load the definitions in a process
    of its own. Runs are started by the run server (``orchestration/run_server.py``).
    """
    python = sys.executable
    bin_folder = Path(python).parent
    root = DataRoot(root.path.resolve())  # Dagster takes an absolute home only
    path = str(root.path)
    home = str(root.dagster_home)
    shared = {"FLOWSENSE_ROOT": path, "DAGSTER_HOME": home, "OMP_NUM_THREADS": "1"}
    workspace = root.dagster_home / "workspace.yaml"
    workspace.write_text(
        f"load_from:\n  - grpc_server:\n      host: {HOST}\n      port: {ports.code}\n      location_name: flowsense\n",
        encoding="utf-8",
    )
    flowsense = [python, "-m", "orchestration.cli.main", "--root", path]

    code_server = [python, "-m", "dagster", "code-server", "start", "-m", "orchestration.definitions"]
    return [
        Service("code", [*code_server, "-h", HOST, "-p", str(ports.code)], port=ports.code, health=None, env=shared),
        Service("runs", [python, "-m", "orchestration.run_server"], env=shared),
        Service(
            "mlflow",
            server_command(python, HOST, ports.mlflow),
            port=ports.mlflow,
            page="MLflow: models of each night, side by side",
            health="/health",
            env={**shared, **server_environment(root)},
        ),
        Service(
            "api",
            [*flowsense, "serve", "--port", str(ports.api)],
            port=ports.api,
            page="Prediction API (interactive page at /docs)",
            health="/health",
            env=shared,
        ),
        Service(
            "stream",
            [*flowsense, "stream", "--port", str(ports.stream), "--speed", str(speed), "--feed", feed],
            port=ports.stream,
            health=None,
            env=shared,
        ),
        Service("executor", [*flowsense, "trade", "--mode", "paper", "--port", str(ports.stream)], env=shared),
        Service(
            "dagster",
            [str(bin_folder / "dagster-webserver"), "-h", HOST, "-p", str(ports.dagster), "-w", str(workspace)],
            port=ports.dagster,
            page="Dagster: assets, runs, the nightly schedule",
            health="/server_info",
            after="code",
            env=shared,
        ),
        Service(
            "daemon",
            [str(bin_folder / "dagster-daemon"), "run", "-w", str(workspace), "--log-level", "warning"],
            after="code",
            env=shared,
        ),
    ]
