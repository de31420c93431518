"""Dagster's run launcher of a data root: the run server where one runs, else Dagster's own way.

Named in ``dagster.yaml``, so that the daemon and the web server load it; it imports nothing of ours that is heavy.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dagster import DagsterRun
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._serdes import serialize_value

from orchestration.run_server import ask

if TYPE_CHECKING:
    from dagster._core.launcher import LaunchRunContext

SERVED: Final = "flowsense/run_server"
"""Tag of runs that the run server started."""


class ForkingRunLauncher(DefaultRunLauncher):
    """Asks the root's run server for a process; without one, the code server spawns it as Dagster does by default."""

    def launch_run(self, context: "LaunchRunContext") -> None:
        """Start the process of a run."""
        from dagster._grpc.types import ExecuteRunArgs

        run = context.dagster_run
        if run.job_code_origin is None:
            super().launch_run(context)
            return
        arguments = ExecuteRunArgs(run.job_code_origin, run.run_id, self._instance.get_ref())
        answer = self._ask("launch", run.run_id, arguments=serialize_value(arguments))
        if answer is None:
            super().launch_run(context)
            return
        self._instance.add_run_tags(run.run_id, {SERVED: str(answer["pid"])})

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run; return whether there was something to interrupt."""
        run = self._instance.get_run_by_id(run_id) if self.has_instance else None
        if run is None or run.is_finished or SERVED not in run.tags:
            return bool(super().terminate(run_id))
        self._instance.report_run_canceling(run)
        answer = self._ask("terminate", run_id)
        return answer is not None and answer["pid"] is not None

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Runs of the run server can be asked after."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Return whether the process of a run is alive; of the code server's runs nothing is known, as by default."""
        if SERVED not in run.tags:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        answer = self._ask("status", run.run_id)
        if answer is None:
            return CheckRunHealthResult(WorkerStatus.FAILED, "the run server that started it is gone")
        if answer["pid"] is not None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if answer["exit"] == 0:
            return CheckRunHealthResult(WorkerStatus.SUCCESS)
        return CheckRunHealthResult(WorkerStatus.FAILED, f"its process ended with status {answer['exit']}")

    def _ask(self, verb: str, run_id: str, **more: Any) -> dict[str, Any] | None:
        return ask(Path(self._instance.root_directory), {"do": verb, "run_id": run_id, **more})
