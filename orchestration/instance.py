"""The Dagster instance of a data root: its ``dagster.yaml``, and how to open it."""

import os
from pathlib import Path
from typing import Final

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


def open_instance(root: DataRoot) -> dg.DagsterInstance:
    """Return the root's persistent instance; use it as a context manager."""
    home = Path(root.dagster_home).resolve()
    return dg.DagsterInstance.from_config(str(home))
