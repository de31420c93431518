"""One small world for all serving tests: three simulated days of three instruments and a linear model fitted on two."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from features.dataset import Dataset
from features.dataset_day import build_dataset_day, dataset_from_frames
from features.labels import executable_labels
from features.pipeline import rows_of_session
from features.rows import FeatureRows
from features.signals.columns import SIGNAL_COLUMNS
from marketdata.clock import Session
from marketdata.events import EventArray, merge_events
from marketdata.paths import DataRoot
from marketdata.settings import Settings, save_settings
from marketdata.sources import build_source, preset
from models.bundle import Bundle, save_bundle
from models.decisions import DecisionLedger
from models.registry import project_champion
from models.splits import walk_forward_folds
from models.tracking import init_tracking
from models.training import fit_bundle
from serving.session import SessionResult, run_session
from serving.session_files import SessionFacts, SessionFiles


@pytest.fixture(autouse=True)
def let_go(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close the files of executors that a test killed, as the system does with a process that dies."""
    made: list[SessionFiles] = []

    begin, go_on = SessionFiles.__init__, SessionFiles.resume

    def begun(self: SessionFiles, folder: Path, facts: SessionFacts) -> None:
        begin(self, folder, facts)
        made.append(self)

    def gone_on(folder: Path, facts: SessionFacts, forecasts: int, rows: int) -> SessionFiles:
        made.append(go_on(folder, facts, forecasts, rows))
        return made[-1]

    monkeypatch.setattr(SessionFiles, "__init__", begun)
    monkeypatch.setattr(SessionFiles, "resume", gone_on)
    yield
    for files in made:
        files.close()


@dataclass(frozen=True)
class World:
    """A data root, its last session with events and rows, and the bundle that trades it."""

    root: DataRoot
    settings: Settings
    session: Session
    events: EventArray
    rows: dict[str, FeatureRows]
    signals: dict[str, pl.DataFrame]
    dataset: Dataset
    test: npt.NDArray[np.intp]
    bundle: Bundle


def small_settings() -> Settings:
    base = preset("simulated", None, sessions=3)
    return base.model_copy(
        update={
            "instruments": base.instruments[:3],
            "simulator": base.simulator.model_copy(update={"events_per_session": 12_000}),
            "sampling": base.sampling.model_copy(update={"every_events": 25}),
            "training": base.training.model_copy(update={"first_train_units": 1}),
        }
    )


def made_up_signals(settings: Settings, session: Session) -> dict[str, pl.DataFrame]:
    """Return social signals known at the open, at a third and at two thirds of the session."""
    step = (session.close_ns - session.open_ns) // 3
    times = [session.open_ns + k * step for k in range(3)]
    symbols = [item.symbol for item in settings.instruments]
    frame = pl.DataFrame(
        {
            "ts_known": [t for t in times for _ in symbols],
            "symbol": symbols * 3,
            **{
                name: [float(k + n) / 10 for k in range(3) for n in range(len(symbols))]
                for name in SIGNAL_COLUMNS["social"]
            },
        }
    )
    return {"social": frame}


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    settings = small_settings()
    root = DataRoot(tmp_path_factory.mktemp("serving_root"))
    save_settings(settings, root.settings_file)
    source = build_source(settings)
    sessions = source.sessions()
    frames = []
    for session in sessions:
        rows, labels, parts = {}, {}, []
        for item in settings.instruments:
            events = source.events(source.raw_ticks(session.date, item.symbol), session.date, item.symbol)
            parts.append(events)
            rows[item.symbol] = rows_of_session(settings, item, session, events)
            labels[item.symbol] = executable_labels(
                rows[item.symbol], events, item, settings.label, settings.latency, session
            )
        signals = made_up_signals(settings, session)
        frames.append(build_dataset_day(session.date, settings, rows, labels, signals, {})[0])
    dataset = dataset_from_frames(frames, settings, sessions)
    fold = walk_forward_folds(dataset, settings.training, settings.latency)[-1]
    bundle = fit_bundle(root, settings, dataset, fold, "linear", {})
    return World(root, settings, sessions[-1], merge_events(parts), rows, signals, dataset, fold.test, bundle)


@pytest.fixture(scope="session")
def traded(world: World) -> SessionResult:
    """The last session, traded in the shadow."""
    return run_session(
        world.root, world.settings, world.session, world.events, world.bundle, "shadow", signals=world.signals
    )


@pytest.fixture
def fresh_root(world: World, tmp_path: Path) -> DataRoot:
    """An empty data root with the world's settings."""
    root = DataRoot(tmp_path / "root")
    root.path.mkdir()
    save_settings(world.settings, root.settings_file)
    return root


@pytest.fixture(scope="session")
def champion_root(world: World, tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """A data root where the world's bundle was promoted by hand and lies in the registry."""
    root = DataRoot(tmp_path_factory.mktemp("champion_root"))
    save_settings(world.settings, root.settings_file)
    save_bundle(world.bundle, root.bundles / "linear")
    init_tracking(root)
    DecisionLedger(root).promote("linear", world.bundle.sha256, 1, by="tester", why="a test")
    project_champion(root)
    return root
