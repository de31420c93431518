"""The Dagster UI's servers of a root, and the questions that its pages ask them."""

import json
import os
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marketdata.paths import DataRoot
from orchestration.up import HOST, Ports, Supervisor, platform_services

SERVERS = ("code", "runs", "dagster", "daemon")
REPOSITORY = {"repositoryLocationName": "flowsense", "repositoryName": "__repository__"}

LAUNCH = """
mutation($p: ExecutionParams!) { launchPipelineExecution(executionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""
REEXECUTE = """
mutation($p: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""
BACKFILL = """
mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }
"""
TERMINATE = "mutation($r: String!) { terminateRun(runId: $r) { __typename } }"
RUN = """
query($r: ID!) { runOrError(runId: $r) { ... on Run {
  status stepKeysToExecute tags { key value } stepStats { stepKey status } } } }
"""
EVENTS = """
query($r: ID!) { logsForRun(runId: $r) { ... on EventConnection { events {
  __typename
  ... on ExecutionStepFailureEvent { stepKey failureMetadata { description } }
  ... on AssetCheckEvaluationEvent { evaluation { checkName success severity description } }
  ... on MaterializationEvent { assetKey { path } metadataEntries { label ... on IntMetadataEntry { intValue } } }
} } } }
"""
AUTOMATION = """
{ repositoriesOrError { ... on RepositoryConnection { nodes {
  jobs { name } schedules { name scheduleState { status } } sensors { name sensorState { status } } } } } }
"""
BACKFILL_STATE = """
query($b: String!) { partitionBackfillOrError(backfillId: $b) { ... on PartitionBackfill {
  status error { message } runs(limit: 100) { id status tags { key value } } } } }
"""


@dataclass(frozen=True)
class Ui:
    """A running UI."""

    url: str
    supervisor: Supervisor

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            answer = json.load(reply)
        assert not answer.get("errors"), answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data

    def launch(self, job: str, key: str) -> str:
        """Launch a job for a partition as its page does; return the run's id."""
        tags = [{"key": "dagster/partition", "value": key}]
        if "|" in key:
            names = zip(("date", "instrument"), key.split("|"), strict=True)
            tags += [{"key": f"dagster/partition/{name}", "value": value} for name, value in names]
        params = {"selector": {**REPOSITORY, "pipelineName": job}, "mode": "default", "runConfigData": {}}
        made = self.ask(LAUNCH, p={**params, "executionMetadata": {"tags": tags}})["launchPipelineExecution"]
        assert made["__typename"] == "LaunchRunSuccess", made
        return str(made["run"]["runId"])

    def reexecute(self, run_id: str, strategy: str) -> str:
        """Re-execute a run (``FROM_FAILURE``, ``ALL_STEPS``); return the new run's id."""
        made = self.ask(REEXECUTE, p={"parentRunId": run_id, "strategy": strategy})["launchRunReexecution"]
        assert made["__typename"] == "LaunchRunSuccess", made
        return str(made["run"]["runId"])

    def backfill(self, assets: list[str]) -> str:
        """Launch all partitions of the assets; return the backfill's id."""
        selection = [{"path": [name]} for name in assets]
        made = self.ask(BACKFILL, p={"assetSelection": selection, "allPartitions": True})["launchPartitionBackfill"]
        assert made["__typename"] == "LaunchBackfillSuccess", made
        return str(made["backfillId"])

    def run(self, run_id: str) -> dict[str, Any]:
        """Return a run as its page shows it."""
        found: dict[str, Any] = self.ask(RUN, r=run_id)["runOrError"]
        return found

    def ended(self, run_id: str, within_s: float = 400.0) -> dict[str, Any]:
        """Wait for a run's end and return it."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            run = self.run(run_id)
            if run["status"] in ("SUCCESS", "FAILURE", "CANCELED"):
                return run
            assert self.supervisor.dead() is None, self.supervisor.dead()
            time.sleep(0.2)
        raise AssertionError(f"run {run_id} did not end within {within_s:.0f} s: {run['status']}")

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """Return what a run's page lists."""
        found: list[dict[str, Any]] = self.ask(EVENTS, r=run_id)["logsForRun"]["events"]
        return found


@contextmanager
def dagster_ui(root: DataRoot, logs: Path) -> Iterator[Ui]:
    """Run the UI, the daemon, the code server and the run server of a root, on free ports."""
    ports = Ports(dagster=_free_port(), code=_free_port())
    services = [s for s in platform_services(root, ports, speed=1.0, feed="simulator") if s.name in SERVERS]
    lines: list[str] = []
    supervisor = Supervisor(services, logs, lines.append)
    os.environ.pop("DAGSTER_HOME", None)
    supervisor.start()
    try:
        assert supervisor.wait_ready(120.0) == [], lines[-20:]
        yield Ui(f"http://{HOST}:{ports.dagster}", supervisor)
    finally:
        supervisor.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
