"""A process that starts a run's process by forking itself: the libraries are imported once, not once a run.

    daemon ──(launcher, one line of JSON)──▶ run server ──fork──▶ run

A run in a process of its own pays several seconds of imports before its first step, more than most partitions take; a forked
one has them already and shares their memory. The server has one thread and runs no step itself, so a fork copies nothing
half-done; what a run leaves behind dies with its process. It imports when the first run comes: an idle platform stays small.
"""

import contextlib
import gc
import hashlib
import json
import logging
import os
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final

LOG: Final = logging.getLogger(__name__)
LONGEST_MESSAGE: Final = 1 << 20
POLL_S: Final = 0.2
KEPT_EXITS: Final = 200
"""Ended runs whose exit status is remembered."""


def run_socket(home: Path) -> Path:
    """Return the Unix socket of a Dagster home's run server.

    Its name holds a hash of the home, because a socket's path may be at most 107 bytes long and a data root's is not.
    """
    digest = hashlib.sha256(str(Path(home).resolve()).encode()).hexdigest()[:20]
    return Path(tempfile.gettempdir()) / f"flowsense-runs-{os.getuid()}-{digest}.sock"


def ask(home: Path, question: dict[str, Any], timeout_s: float = 60.0) -> dict[str, Any] | None:
    """Return a run server's answer; None where none runs."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(run_socket(home)))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        connection.sendall(json.dumps(question).encode() + b"\n")
        answer: dict[str, Any] = json.loads(_line(connection))
        return answer


@dataclass
class RunServer:
    """Starts, stops and watches the processes of runs.

    Attributes
    ----------
    home : Path
        Dagster home of the data root.
    execute : callable
        Given what a launcher sent, runs it in the forked process and returns the exit status.
    prepare : callable
        Called once, before the first fork: imports what nearly every run needs.
    """

    home: Path
    execute: Callable[[str], int]
    prepare: Callable[[], None]
    _prepared: bool = False
    _running: dict[str, int] = field(default_factory=dict)
    _ended: dict[str, int] = field(default_factory=dict)
    _listener: socket.socket | None = None
    _stopping: bool = False

    def serve(self) -> None:
        """Answer launchers until :meth:`stop`; raise OSError if another server of this home is alive."""
        path = run_socket(self.home)
        if ask(self.home, {"do": "status", "run_id": ""}) is not None:
            raise OSError(f"{path}: a run server of {self.home} is running already")
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            before = os.umask(0o177)  # whoever may write to the socket may start runs
            try:
                listener.bind(str(path))
            finally:
                os.umask(before)
            listener.listen(16)
            listener.settimeout(POLL_S)
            self._listener = listener
            try:
                while not self._stopping:
                    self._reap()
                    with contextlib.suppress(TimeoutError):
                        self._answer(listener.accept()[0])
            finally:
                path.unlink(missing_ok=True)

    def stop(self, *_: int | FrameType | None) -> None:
        """Ask :meth:`serve` to return; safe in a signal handler. Runs get the signals of their process group themselves."""
        self._stopping = True

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(5.0)
            try:
                question = json.loads(_line(connection))
                answer = self._act(str(question["do"]), str(question["run_id"]), question, connection)
                connection.sendall(json.dumps(answer).encode() + b"\n")
            except (OSError, ValueError, KeyError) as error:
                LOG.warning("run server: a question without an answer: %s", error)

    def _act(self, verb: str, run_id: str, question: dict[str, Any], connection: socket.socket) -> dict[str, Any]:
        if verb == "launch":
            return {"pid": self._fork(run_id, str(question["arguments"]), connection)}
        pid = self._running.get(run_id)
        if verb == "terminate" and pid is not None:
            os.kill(pid, signal.SIGINT)  # Dagster takes it between two events and reports the run as cancelled
        return {"pid": pid, "exit": self._ended.get(run_id)}

    def _fork(self, run_id: str, arguments: str, connection: socket.socket) -> int:
        if not self._prepared:
            self.prepare()
            gc.collect()
            gc.freeze()  # the collector of a run does not touch, and so does not copy, the pages they share
            self._prepared = True
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            self._running[run_id] = pid
            return pid
        status = 1
        try:
            connection.close()
            if self._listener is not None:
                self._listener.close()
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.default_int_handler)
            status = self.execute(arguments)
        except BaseException:  # the process ends here whatever happened; its parent must never go on in the child
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        for run_id, pid in list(self._running.items()):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                del self._running[run_id]
                self._ended[run_id] = os.waitstatus_to_exitcode(status)
        while len(self._ended) > KEPT_EXITS:
            del self._ended[next(iter(self._ended))]


def execute_dagster_run(arguments: str) -> int:
    """Execute a run as ``dagster api execute_run`` does; ``arguments`` is its serialised ``ExecuteRunArgs``."""
    from dagster._cli.api import execute_run_command

    assert execute_run_command.callback is not None
    try:
        execute_run_command.callback(arguments, None)
    except SystemExit as ended:
        return int(ended.code or 0) if not isinstance(ended.code, str) else 1
    return 0


def _line(connection: socket.socket) -> bytes:
    content = b""
    while not content.endswith(b"\n"):
        part = connection.recv(65_536)
        if not part or len(content) > LONGEST_MESSAGE:
            raise ValueError("the connection ended within a line")
        content += part
    return content


def main() -> None:
    """Run the server of the Dagster home in ``DAGSTER_HOME``."""
    import marketdata.environment  # noqa: F401 - settles the process environment before any library is imported
    from orchestration.preload import preload_runs

    server = RunServer(Path(os.environ["DAGSTER_HOME"]), execute_dagster_run, preload_runs)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, server.stop)
    server.serve()


if __name__ == "__main__":
    main()
