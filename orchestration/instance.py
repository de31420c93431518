"""The Dagster instance of a data root: its ``dagster.yaml``, and how to open it.

Dagster's SQLite storage waits for the disk at every event. The files hold the history of runs, not results, so here a commit
waits for the operating system only, and a connection that stays open keeps every close from writing a checkpoint. A crashed
process loses nothing; a power cut may lose the last events. :mod:`orchestration.history_storage` keeps the engines.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final

import dagster as dg

from marketdata.paths import DataRoot
from orchestration.assets_train import TRAINING_POOL

MAX_CONCURRENT_RUNS: Final = 2
DAGSTER_YAML: Final = f"""\
# Written once by `flowsense init`; edit freely, it is not written again.
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: {MAX_CONCURRENT_RUNS}
  pools:
    # The pool "{TRAINING_POOL}" holds the fits: runs that need it take turns, so that memory is that of one night.
    granularity: run
    default_limit: 1
run_queue:
  # A partition takes a second or two: the daemon looks for the next one as often.
  dequeue_interval_seconds: 1
storage:
  custom:
    module: orchestration.history_storage
    class: HistoryStorage
    config:
      base_dir:
        env: DAGSTER_HOME
run_launcher:
  module: orchestration.run_launcher
  class: ForkingRunLauncher
python_logs:
  # What terminals show; every event is in the event log whatever its level.
  python_log_level: WARNING
run_monitoring:
  enabled: true
  start_timeout_seconds: 180
  cancel_timeout_seconds: 60
  max_runtime_seconds: 7200
  poll_interval_seconds: 30
run_retries:
  enabled: true
  max_retries: 1
  retry_on_asset_or_op_failure: false
retention:
  schedule:
    purge_after_days:
      skipped: 14
      success: 90
      failure: 90
  sensor:
    purge_after_days:
      skipped: 1
      success: 30
      failure: 30
"""


def write_dagster_yaml(root: DataRoot) -> None:
    """Write the instance's configuration unless there is one already."""
    root.dagster_home.mkdir(parents=True, exist_ok=True)
    path = root.dagster_home / "dagster.yaml"
    if path.exists():
        return
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(DAGSTER_YAML, encoding="utf-8")
    os.replace(temporary, path)


@contextmanager
def open_instance(root: DataRoot) -> Iterator[dg.DagsterInstance]:
    """Open the root's persistent instance for the block, its SQLite files held open and committed without disk waits.

    What steps write to the terminal stays there: capturing it would take the progress bars away and start two processes a run.
    """
    from dagster._core.instance.ref import InstanceRef

    home = Path(root.dagster_home).resolve()
    relax_history(root)
    overrides = {**NO_CAPTURE, "storage": history_of(str(home))}
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=overrides)) as instance:
        instance.get_runs_count()
        with ExitStack() as held:
            for path in home.rglob("*.db"):
                if path.name in HELD_OPEN:
                    keeper = held.enter_context(closing(sqlite3.connect(path)))
                    keeper.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            yield instance


def history_of(base_dir: Any) -> dict[str, Any]:
    """Return the ``storage`` part of an instance's configuration: Dagster's own files below a folder, engines kept."""
    where = {"module": "orchestration.history_storage", "class": "HistoryStorage", "config": {"base_dir": base_dir}}
    return {"custom": where}


def relax_history(root: DataRoot) -> None:
    """Let this process commit to the root's Dagster files without waiting for the disk; calling it again changes nothing."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    home = Path(root.dagster_home).resolve()
    if home in _relaxed:
        return
    _relaxed.add(home)

    @event.listens_for(Engine, "connect")
    def relax(connection: Any, record: object) -> None:
        if isinstance(connection, sqlite3.Connection) and _is_below(connection, home):
            connection.execute("PRAGMA synchronous=OFF")


_relaxed: set[Path] = set()
"""Homes whose files this process commits to without waiting."""
NO_CAPTURE: Final = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
        "config": {},
    }
}
HELD_OPEN: Final = ("index.db", "runs.db")
"""Files that all runs share."""


def _is_below(connection: sqlite3.Connection, folder: Path) -> bool:
    row = connection.execute("PRAGMA database_list").fetchone()
    return row is not None and bool(row[2]) and Path(row[2]).is_relative_to(folder)
