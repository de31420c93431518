"""Dagster's history through kept engines: the same files, shared with Dagster's own storage, other processes and forks."""

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage

from marketdata.paths import DataRoot
from orchestration.history_storage import EventLog, HistoryStorage
from orchestration.instance import history_of, open_instance, relax_history, write_dagster_yaml


@dg.op
def talk(context: dg.OpExecutionContext) -> int:
    context.log.warning("said")
    context.add_output_metadata({"rows": 3})
    return 3


@dg.job
def talking_job() -> None:
    talk()


@contextmanager
def instance_of(home: Path, *, kept: bool) -> Iterator[dg.DagsterInstance]:
    home.mkdir(exist_ok=True)
    storage = history_of(str(home)) if kept else {"sqlite": {"base_dir": str(home)}}
    overrides = {"storage": storage, "telemetry": {"enabled": False}}
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=overrides)) as instance:
        yield instance


def run_job(instance: dg.DagsterInstance) -> str:
    return talking_job.execute_in_process(instance=instance, tags={"by": "test"}).run_id


def told(instance: dg.DagsterInstance, run_id: str) -> list[tuple[str | None, str]]:
    entries = [record.event_log_entry for record in instance.get_records_for_run(run_id).records]
    return [(entry.step_key, entry.dagster_event_type.value if entry.is_dagster_event else "log") for entry in entries]


def tables(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as file:
        return dict(file.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall())


def in_fork(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    pytest.fail("the forked process hangs")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that tests add runs to: its files as Dagster's migrations made them."""
    root = DataRoot(tmp_path_factory.mktemp("root"))
    relax_history(root)
    with instance_of(root.dagster_home, kept=False):
        pass
    return root.dagster_home


def test_runs_of_both_storages_are_told_alike_by_both(home: Path) -> None:
    with instance_of(home, kept=True) as ours:
        assert isinstance(ours.event_log_storage, EventLog)
        mine = [run_job(ours) for _ in range(2)]
    with instance_of(home, kept=False) as theirs:
        assert not isinstance(theirs.event_log_storage, EventLog)
        mine.append(run_job(theirs))
        by_dagster = [told(theirs, run_id) for run_id in mine]
    with instance_of(home, kept=True) as ours:
        assert [told(ours, run_id) for run_id in mine] == by_dagster
        assert {run.run_id for run in ours.get_runs()} >= set(mine)
    assert len(by_dagster[0]) > 8
    assert all(lines == by_dagster[0] for lines in by_dagster)
    made = [tables(home / "history" / "runs" / f"{run_id}.db") for run_id in mine]
    assert "event_logs" in made[0]
    assert made[0] == made[1] == made[2], "the second file is a copy, the others are what the migrations make"
    assert not list(home.rglob("*.new"))
    for path in home.rglob("*.db"):
        with closing(sqlite3.connect(path)) as file:
            assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",), path


def test_a_forked_process_writes_beside_its_parent(home: Path) -> None:
    with instance_of(home, kept=True) as ours:
        run_job(ours)
        before = {run.run_id for run in ours.get_runs()}
        assert in_fork(lambda: run_job(ours) and None) == 0
        mine = run_job(ours)
        [forked] = {run.run_id for run in ours.get_runs()} - before - {mine}
        assert told(ours, forked) == told(ours, mine)


def test_a_process_forked_while_a_thread_holds_the_log_is_not_stuck(home: Path) -> None:
    with instance_of(home, kept=True) as ours:
        run_job(ours)
        before = ours.get_runs_count()
        held, free = threading.Event(), threading.Event()

        def hold() -> None:
            with ours.event_log_storage.index_connection():
                held.set()
                free.wait(60)

        holder = threading.Thread(target=hold)
        holder.start()
        held.wait(10)
        try:
            assert in_fork(lambda: run_job(ours) and None) == 0
        finally:
            free.set()
            holder.join(60)
        assert ours.get_runs_count() == before + 1


def test_threads_share_an_instance(home: Path) -> None:
    with instance_of(home, kept=True) as ours:
        run = ours.get_run_by_id(run_job(ours))
        before = len(told(ours, run.run_id))

        def report() -> None:
            for _ in range(5):
                ours.report_engine_event("a line", run)
                ours.add_run_tags(run.run_id, {threading.current_thread().name: "was here"})

        threads = [threading.Thread(target=report, name=f"t{k}") for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(told(ours, run.run_id)) == before + 20
        assert {f"t{k}" for k in range(4)} < set(ours.get_run_by_id(run.run_id).tags)


def test_closing_lets_go_of_every_file(home: Path) -> None:
    with instance_of(home, kept=True) as ours:
        run_job(ours)
        assert held_files(home)
    assert not held_files(home)


def held_files(folder: Path) -> list[str]:
    links = [
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{fd}")
    ]
    return [link for link in links if link.startswith(str(folder))]


def test_wiping_runs_leaves_a_log_that_works(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path / "home")
    with instance_of(tmp_path / "home", kept=True) as ours:
        run_job(ours)
        ours.wipe()
        assert ours.get_runs_count() == 0
        assert told(ours, run_job(ours))


def test_a_root_asks_for_it_in_its_own_file_and_in_this_process(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = DataRoot(tmp_path / "root")
    shutil.copytree(home, root.dagster_home)
    relax_history(root)
    write_dagster_yaml(root)
    monkeypatch.setenv("DAGSTER_HOME", str(root.dagster_home))
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(root.dagster_home))) as by_file:
        assert isinstance(by_file.event_log_storage, EventLog)
        run_id = run_job(by_file)
    monkeypatch.delenv("DAGSTER_HOME")
    with open_instance(root) as here:
        assert isinstance(here.event_log_storage, EventLog)
        assert here.get_run_by_id(run_id).is_success


def test_dagster_still_works_as_the_storage_assumes() -> None:
    """What is built on is private to Dagster: a version that changed it must be looked at before it is locked."""
    for name in ("_connect", "_initdb", "has_table", "path_for_shard", "dispose"):
        assert callable(getattr(EventLog.__mro__[1], name)), name
    assert issubclass(HistoryStorage, DagsterSqliteStorage)
