"""Drive nights in this process, key by key, through the same jobs that the Dagster UI shows.

Every run goes into the root's persistent Dagster instance. A step that fails ends its run, not the night: other partitions
go on, and the result lists what failed.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

import dagster as dg

from marketdata.paths import DataRoot, PartitionKey
from marketdata.settings import Settings, SettingsError
from orchestration import stopwatch
from orchestration.companion import Companions, accompanied, companion_count
from orchestration.control_worlds import offer_worlds, without_control_worlds
from orchestration.grids import DEMO_SESSIONS, Grids, ingest_key
from orchestration.hashes import night_hashes
from orchestration.instance import open_instance
from orchestration.jobs import INGEST_JOB, INGEST_SIGNALS_JOB, TRAIN_JOB
from orchestration.location import build_definitions, root_grids
from orchestration.memory import MemoryPeak, watching_memory
from orchestration.preload import preload
from orchestration.progress import Progress, hearing_steps, silent
from orchestration.readiness import partition_state
from orchestration.resources import open_source
from orchestration.side_files import NightCosts, write_costs
from orchestration.warming import offer_kernels

QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
TRADED_ASSETS: Final = ("raw_ticks", "events", "feature_rows")
DATASET_ASSETS: Final = ("dataset_day",)
PAPER_ASSETS: Final = ("paper_session", "parity_report")


@dataclass(frozen=True)
class StepFailure:
    """A step that failed.

    Attributes
    ----------
    partition : str
        Key of the run.
    step : str
        Name of the asset.
    kind : str
        Class of the error, for example ``PartitionQuarantined`` or ``SourceError``.
    reason : str
        What it said.
    """

    partition: str
    step: str
    kind: str
    reason: str

    def __str__(self) -> str:
        """Return one line for a person."""
        return f"{self.step} {self.partition}: {self.reason}"


@dataclass(frozen=True)
class NightsResult:
    """What driving some nights came to.

    Attributes
    ----------
    nights : tuple of date
        Sessions whose training ran, whether it succeeded or not.
    traded : date or None
        Session that was traded on paper after the last decision, when that is not a night of its own.
    failures : tuple of StepFailure
        In the order they happened.
    """

    nights: tuple[date, ...]
    traded: date | None
    failures: tuple[StepFailure, ...]
    seconds: dict[str, float]
    wall_s: float
    peak_memory_bytes: int
    beside: dict[str, float]

    @property
    def last(self) -> date | None:
        """The last night."""
        return self.nights[-1] if self.nights else None

    def failed(self, day: date) -> list[StepFailure]:
        """Return the failures of a session."""
        return [failure for failure in self.failures if failure.partition.startswith(day.isoformat())]


@dataclass
class NightDriver:
    """Runs the jobs of one root in this process; make it with :func:`driving`."""

    root: DataRoot
    grids: Grids
    instance: dg.DagsterInstance
    jobs: dict[str, dg.JobDefinition]
    progress: Progress
    watch: stopwatch.Stopwatch
    memory: MemoryPeak
    companions: Companions
    started: float
    failures: list[StepFailure] = field(default_factory=list)

    def ingest(
        self, days: Sequence[date], *, only: Sequence[str] | None = None, after_first: Callable[[], None] | None = None
    ) -> None:
        """Ingest every instrument and the slow signals of the days; ``only`` names the assets of the tick chain to make.

        Day by day, because the simulated source keeps the session it has simulated last. ``after_first`` is called after the
        first day: the kernels that ingest needs are compiled by then.
        """
        signals = INGEST_SIGNALS_JOB in self.jobs
        stage = "ingest" if only is None else f"ingest {days[0]}"
        total = len(days) * (len(self.grids.symbols) + signals)
        done = 0
        self.progress(stage, done, total)
        for day in days:
            for symbol in self.grids.symbols:
                self._run(INGEST_JOB, ingest_key(day, symbol), only)
                done += 1
                self.progress(stage, done, total)
            if signals:
                self._run(INGEST_SIGNALS_JOB, day.isoformat())
                done += 1
                self.progress(stage, done, total)
            if after_first is not None and day == days[0]:
                after_first()

    def partitions(self, places: Sequence[tuple[date, str]], only: Sequence[str]) -> None:
        """Make the named assets of the tick chain for some sessions and instruments."""
        for done, (day, symbol) in enumerate(places):
            self.progress("publish partitions", done, len(places))
            self._run(INGEST_JOB, ingest_key(day, symbol), only)
        self.progress("publish partitions", len(places), len(places))

    def datasets(self, days: Sequence[date]) -> None:
        """Make the dataset of days that have no night of their own but that later nights train on."""
        if days:
            self.progress("dataset days", 0, len(days))
        for done, day in enumerate(days, start=1):
            self._run(TRAIN_JOB, day.isoformat(), DATASET_ASSETS)
            self.progress("dataset days", done, len(days))

    def without_dataset(self, before: date) -> list[date]:
        """Return the sessions before a night that were ingested and have no dataset of the day, as far as its window reaches."""
        window = self.root.settings().training.window_sessions
        earlier = [session.date for session in self.grids.sessions if session.date < before][-window:]
        symbols = self.grids.symbols
        return [
            day
            for day in earlier
            if partition_state(self.root, PartitionKey("dataset_day", day)) == "missing"
            and any(partition_state(self.root, PartitionKey("labels", day, s)) == "published" for s in symbols)
        ]

    def train(self, day: date, *, only: Sequence[str] | None = None) -> None:
        """Run the night of a session, or only the named assets of it."""
        stage = f"night {day}" if only is None else f"paper {day}"
        total = len(only) if only else len(self.jobs[TRAIN_JOB].asset_layer.selected_asset_keys)
        begun = 0

        def step(asset: str) -> None:
            nonlocal begun
            self.progress(stage, begun, total)
            begun += 1

        with hearing_steps(step):
            self._run(TRAIN_JOB, day.isoformat(), only)
        self.progress(stage, total, total)

    def costs(self) -> NightCosts:
        """Return wall time by part and peak memory so far."""
        wall_s = time.perf_counter() - self.started
        return NightCosts(
            dict(self.watch.seconds), wall_s, self.memory.peak_bytes, beside=dict(self.companions.seconds)
        )

    def _run(self, job: str, key: str, only: Sequence[str] | None = None) -> bool:
        with stopwatch.part(stopwatch.DAGSTER):
            result = self.jobs[job].execute_in_process(
                partition_key=key,
                instance=self.instance,
                raise_on_error=False,
                run_config=QUIET,
                asset_selection=[dg.AssetKey(name) for name in only] if only else None,
            )
        if not result.success:
            self.failures += [_failure(key, event) for event in result.filter_events(lambda e: e.is_step_failure)]
        return result.success


@contextmanager
def driving(
    root: DataRoot, progress: Progress = silent, *, training: bool = True, many: bool = False
) -> Iterator[NightDriver]:
    """Open the root's instance and jobs and measure what runs inside the block.

    Parameters
    ----------
    training : bool
        False: no model's library is loaded.
    many : bool
        Nights in a row, for which it pays to start companions.
    """
    started = time.perf_counter()
    settings = root.settings()
    count = companion_count(settings.controls.processes) if many else 0
    with stopwatch.timing() as watch, watching_memory() as memory, accompanied(count) as companions:
        offer_kernels(root)
        with stopwatch.part(stopwatch.IMPORTS):
            preload(root, settings, training=training)
        with stopwatch.part(stopwatch.DAGSTER):
            repository = build_definitions(root).get_repository_def()
        jobs = {job.name: job for job in repository.get_all_jobs() if not job.name.startswith("__")}
        with open_instance(root) as instance:
            yield NightDriver(root, root_grids(root), instance, jobs, progress, watch, memory, companions, started)


def run_night(
    root: DataRoot, days: Sequence[date], progress: Progress = silent, *, ingest: bool = True, train: bool = True
) -> NightsResult:
    """Run whole nights: ingest the days, then train each of them in order, from the root's first night on.

    Parameters
    ----------
    days : sequence of date
        Sessions of the root, in order.
    ingest, train : bool
        Leave one of the two out.

    Raises
    ------
    SettingsError
        If a day is no session of the root.
    """
    with driving(root, progress, training=train) as driver:
        for day in days:
            driver.grids.session(day)
        if ingest:
            driver.ingest(days)
        nights = [day for day in days if train and driver.grids.number(day) >= root.settings().first_night]
        if nights:
            driver.datasets(driver.without_dataset(before=nights[0]))
        for day in nights:
            driver.train(day)
        return _close(driver, nights, None)


def run_demo(root: DataRoot, progress: Progress = silent) -> NightsResult:
    """Run the demonstration: sessions before the last are nights, the last is simulated after the decision and traded on paper.

    Sessions that only train the first fold have no night of their own. The number of sessions is that of the root,
    :data:`~orchestration.grids.DEMO_SESSIONS` at most.
    """
    settings = root.settings()
    if settings.source != "simulated":
        raise SettingsError(f"the demonstration is of the simulated source, and this root is {settings.source}")
    with driving(root, progress, many=True) as driver:
        *days, last = [session.date for session in driver.grids.sessions[:DEMO_SESSIONS]]
        driver.ingest(days, after_first=lambda: offer_worlds(root, settings, days[-1]))
        first = first_training_night(settings) - 1
        driver.datasets(days[:first])
        nights = days[first:]
        for day in nights:
            with without_control_worlds(day != nights[-1]):
                driver.train(day)
        driver.ingest([last], only=TRADED_ASSETS)
        driver.train(last, only=PAPER_ASSETS)
        return _close(driver, nights, last)


def first_training_night(settings: Settings) -> int:
    """Return the number of the first session whose night trains: the first whose training window is as long as a fold's."""
    folds_by_session = settings.training.fold_unit == "session"
    return max(settings.first_night, settings.training.first_train_units if folds_by_session else 1)


def run_recorded(root: DataRoot, progress: Progress = silent) -> NightsResult:
    """Ingest every session that a recorded source has and run the nights of the last two.

    The first of them decides who trades the last session on paper; what it fits is not fitted again. A source of one session has
    nobody to trade it.
    """
    settings = root.settings()
    with driving(root, progress, many=True) as driver:
        with stopwatch.part(stopwatch.INGEST):
            found = open_source(root, settings.model_dump_json()).sessions()
        days = [session.date for session in found if driver.grids.spans(session.date)]
        if not days:
            raise SettingsError(f"{settings.data}: holds no session between {settings.start_date} and the root's last")
        driver.ingest(days, after_first=lambda: offer_worlds(root, settings, days[-1]))
        nights = days[-2:]
        driver.datasets(days[: -len(nights)])
        for day in nights:
            with without_control_worlds(day != nights[-1]):
                driver.train(day)
        return _close(driver, nights, None)


def run_source(root: DataRoot, progress: Progress = silent) -> NightsResult:
    """Run what ``make run`` runs for the root's source."""
    run: Callable[[DataRoot, Progress], NightsResult] = (
        run_demo if root.settings().source == "simulated" else run_recorded
    )
    return run(root, progress)


def _close(driver: NightDriver, nights: Sequence[date], traded: date | None) -> NightsResult:
    """Write costs beside the last night, complete its page, and return the result."""
    from orchestration.stages_report import finish_night

    if nights:
        with stopwatch.part(stopwatch.REPORT):
            write_costs(driver.root, nights[-1], driver.costs())
            finish_night(driver.root, nights[-1], traded, [str(failure) for failure in driver.failures])
    costs = driver.costs()
    return NightsResult(
        tuple(nights),
        traded,
        tuple(driver.failures),
        costs.seconds,
        costs.wall_s,
        costs.peak_memory_bytes,
        costs.beside,
    )


def _failure(key: str, event: dg.DagsterEvent) -> StepFailure:
    data: Any = event.step_failure_data
    failure, error = data.user_failure_data, data.error
    if failure is not None and failure.metadata.get("kind") is not None:
        kind, reason = str(failure.metadata["kind"].value), failure.description or ""
    else:
        while error is not None and error.cause is not None:
            error = error.cause
        kind = (error.cls_name if error else None) or "Failure"
        reason = error.message.strip() if error else "step failed"
    return StepFailure(str(key), event.step_key or "", kind, reason)


__all__ = [
    "NightDriver",
    "NightsResult",
    "StepFailure",
    "driving",
    "night_hashes",
    "run_demo",
    "run_night",
    "run_recorded",
    "run_source",
]
