"""Columns of one's own: the same bits however cut and live, hashed into the fingerprint, refused with their reason."""

from pathlib import Path

import numpy as np
import pytest

from features.assembler import RowAssembler
from features.catalog import dataset_catalogue
from features.own import OwnFeatureError, OwnKernel, load_own
from features.pipeline import FeaturePipeline, copy_state, rows_of_session
from features.rows import FeatureRows
from marketdata.settings import Settings, load_settings, save_settings
from tests.features.tape import SESSION, instrument, random_tape, settings

TAPE = random_tape(43, 1_500)
PRESSURE = """
from features.own import OwnKernel, own_step

@own_step
def step(state, now, action, side, price, lots, bid, bid_lots, ask, ask_lots):
    state[0] = {kept} * state[0] + (bid_lots - ask_lots)
    return state[0] if bid_lots > 0 and ask_lots > 0 else float("nan")

FEATURE = OwnKernel("{name}", "lots", "decayed difference of the best queues", 1, step{more})
"""


def _written(
    folder: Path, name: str = "queue_pressure", kept: float = 0.9, more: str = ", memory_ns=5_000_000_000"
) -> Path:
    path = folder / f"{name}.py"
    path.write_text(PRESSURE.format(name=name, kept=kept, more=more), encoding="utf-8")
    return path


def _settings(*paths: Path, **sampling: object) -> Settings:
    return settings(1, sampling={"every_events": 7, "own": [str(path) for path in paths], **sampling})


def _pipeline(config: Settings) -> FeaturePipeline:
    return FeaturePipeline(instrument(0), config.sampling, SESSION.open_ns, SESSION.close_ns, True)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("own")
    return _settings(_written(folder), _written(folder, "slow_pressure", 0.99))


@pytest.fixture(scope="module")
def whole(config: Settings) -> FeatureRows:
    return rows_of_session(config, instrument(0), SESSION, TAPE)


def test_the_column_holds_the_value_at_the_rows_event(config: Settings, whole: FeatureRows) -> None:
    assert whole.columns[-2:] == ("queue_pressure", "slow_pressure")
    kernel = rows_of_session(settings(1, sampling={"every_events": 7}), instrument(0), SESSION, TAPE)
    np.testing.assert_array_equal(whole.keys, kernel.keys)
    np.testing.assert_array_equal(whole.values[:, :-2], kernel.values)
    feature = load_own(config.sampling.own[0])
    every = feature.step(feature.init(), TAPE)[1]
    at = np.searchsorted(TAPE["sequence"], whole.key("sequence"), side="right") - 1
    np.testing.assert_array_equal(whole.values[:, -2], every[at])
    assert np.isfinite(every[at]).all()
    assert len(at) > 100


def test_any_cut_and_a_checkpoint_give_the_same_bits(config: Settings, whole: FeatureRows) -> None:
    pipeline = _pipeline(config)
    state, parts = pipeline.init(), []
    for k in range(600):
        state, rows = pipeline.step(state, TAPE[k : k + 1])
        parts.append(rows)
    saved = copy_state(state)
    pipeline.step(state, random_tape(8, 200))
    for start in range(600, len(TAPE), 97):
        saved, rows = pipeline.step(saved, TAPE[start : start + 97])
        parts.append(rows)
    assert np.concatenate([rows.keys for rows in parts]).tobytes() == whole.keys.tobytes()
    assert np.concatenate([rows.values for rows in parts]).tobytes() == whole.values.tobytes()


def test_it_reaches_the_dataset_and_the_catalogue_and_is_purged_by_its_memory(tmp_path: Path) -> None:
    long = _settings(_written(tmp_path, more=", memory_ns=900_000_000_000"))
    assembler = RowAssembler(long)
    names = [entry.name for entry in dataset_catalogue(long)]
    assert tuple(names) == assembler.columns
    assert dataset_catalogue(long)[names.index("queue_pressure")].family == "own"
    assert assembler.spec.memory_ns == 900_000_000_000
    assert (
        FeatureRows.from_frame(rows_of_session(long, instrument(0), SESSION, TAPE).to_frame()).columns[-1]
        == "queue_pressure"
    )


def test_another_text_is_another_fingerprint_and_none_is_the_usual_one(tmp_path: Path) -> None:
    first = RowAssembler(_settings(_written(tmp_path, kept=0.9)))
    one = first.fingerprint
    second = RowAssembler(_settings(_written(tmp_path, kept=0.8)))
    assert one != second.fingerprint
    kernel = first.spec.own.features[0]
    assert isinstance(kernel, OwnKernel)
    assert second.spec.own.features[0].compiled is not kernel.compiled, "an edited file is compiled anew"
    assert RowAssembler(_settings()).fingerprint == RowAssembler(settings(1, sampling={"every_events": 7})).fingerprint


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [("queue_pressure", "", "memory_ns"), ("mid_age", ", memory_ns=1", "no new column name")],
)
def test_a_file_that_cannot_be_a_column_is_refused_with_its_reason(
    tmp_path: Path, name: str, more: str, words: str
) -> None:
    path = _written(tmp_path, name, more=more)
    with pytest.raises(OwnFeatureError, match=words) as error:
        _ = _pipeline(_settings(path)).columns
    assert str(path) in str(error.value)


def test_a_fold_is_not_stored_and_a_missing_file_is_named(tmp_path: Path) -> None:
    fold = tmp_path / "fold.py"
    fold.write_text(
        "class F:\n    name, unit, formula = 'f', '1', 'f'\n    def init(self): ...\n    def step(self, state, events): ...\n"
        "FEATURE = F()\n",
        encoding="utf-8",
    )
    with pytest.raises(OwnFeatureError, match="only an OwnKernel"):
        _ = _pipeline(_settings(fold)).columns
    with pytest.raises(OwnFeatureError, match="no such file"):
        _ = _pipeline(_settings(tmp_path / "nowhere.py")).columns


def test_a_relative_path_begins_at_the_settings_file(tmp_path: Path) -> None:
    path = _written(tmp_path)
    save_settings(_settings(Path(path.name)), tmp_path / "settings.toml")
    assert load_settings(tmp_path / "settings.toml").sampling.own == (path,)
