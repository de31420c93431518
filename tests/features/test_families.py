"""Every further formula against its definition in plain Python, and the sampling clocks."""

import itertools

import numpy as np
import pytest

from features.families import FAMILIES
from features.pipeline import FeaturePipeline
from features.rows import FeatureRows
from features.spec import FeatureSpec
from marketdata.events import CLEAR, EXECUTE, HIDDEN, TRADE, EventArray
from marketdata.settings import SamplingSettings
from tests.features.reference import Reference
from tests.features.tape import SESSION, instrument, random_tape

NS = 1_000_000_000
SAMPLING = SamplingSettings(
    every_events=41, windows_ns=(240_000_000, 2_400_000_000, 12 * NS), decays_per_s=(10.0, 1.0, 0.5), families=("all",)
)
FURTHER = FeatureSpec(SAMPLING, False).further


@pytest.fixture(scope="module")
def tape() -> EventArray:
    found = random_tape(31, 1_500, gap_ms=25.0)
    assert (found["action"] == CLEAR).sum() == 1
    return found


@pytest.fixture(scope="module")
def rows(tape: EventArray) -> FeatureRows:
    pipeline = FeaturePipeline(instrument(), SAMPLING, SESSION.open_ns, SESSION.close_ns, False)
    return pipeline.step(pipeline.init(), tape)[1]


@pytest.fixture(scope="module")
def expected(tape: EventArray, rows: FeatureRows) -> list[dict[str, float]]:
    reference = Reference(tape, SAMPLING.windows_ns, SAMPLING.decays_per_s, instrument().tick_units)
    at = {group.sequence: k for k, group in enumerate(reference.groups)}
    return [reference.row(at[int(sequence)]) for sequence in rows.key("sequence")]


def test_the_reference_knows_every_further_column(expected: list[dict[str, float]]) -> None:
    assert set(expected[0]) == {entry.name for entry in FURTHER}


@pytest.mark.parametrize("column", [entry.name for entry in FURTHER])
def test_a_further_feature_equals_its_definition(
    rows: FeatureRows, expected: list[dict[str, float]], column: str
) -> None:
    got = rows.values[:, rows.columns.index(column)]
    want = np.array([row[column] for row in expected], float)
    np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-9)
    assert np.isfinite(want).sum() > 3


def _rows(tape: EventArray, **sampling: object) -> FeatureRows:
    chosen = SamplingSettings().model_copy(update=sampling)
    pipeline = FeaturePipeline(instrument(), chosen, SESSION.open_ns, SESSION.close_ns, False)
    parts, state = [], pipeline.init()
    for start in range(0, len(tape), 97):
        state, rows = pipeline.step(state, tape[start : start + 97])
        parts.append(rows)
    whole = pipeline.step(pipeline.init(), tape)[1]
    keys = np.concatenate([part.keys for part in parts])
    assert keys.tobytes() == whole.keys.tobytes()
    assert np.concatenate([part.values for part in parts]).tobytes() == whole.values.tobytes()
    return whole


def test_the_time_clock_gives_the_first_good_group_of_each_cell_of_the_grid(tape: EventArray) -> None:
    rows = _rows(tape, clock="time", every_ns=NS // 2)
    every = _rows(tape, every_events=1)
    cells = every.key("ts_recv") // (NS // 2)
    first = np.concatenate([[True], np.diff(cells) > 0])
    # The opening snapshot is no event, but time has passed when it comes.
    np.testing.assert_array_equal(rows.key("sequence")[1:], every.key("sequence")[first][1:])
    assert len(rows.keys) > 50


def test_the_trade_clock_counts_aggressors_and_the_volume_clock_lots(tape: EventArray) -> None:
    executed = np.isin(tape["action"], (EXECUTE, HIDDEN, TRADE))
    lots = np.where(executed, tape["size_lots"], 0)
    by_volume = _rows(tape, clock="volume", every_lots=50)
    at = np.searchsorted(tape["sequence"], by_volume.key("sequence"), side="right")
    traded = np.diff(np.cumsum(lots)[at - 1])
    assert (traded >= 50).all()
    assert len(by_volume.keys) > 20
    by_trades = _rows(tape, clock="trades", every_trades=5)
    reference = Reference(tape, SAMPLING.windows_ns, SAMPLING.decays_per_s, instrument().tick_units)
    at = {group.sequence: k for k, group in enumerate(reference.groups)}
    groups = np.array([at[int(sequence)] for sequence in by_trades.key("sequence")])
    came = [sum(a < x.group <= b for x in reference.aggressors) for a, b in itertools.pairwise(groups)]
    assert min(came) == 5
    assert np.median(came) == 5


def test_a_family_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"sampling\.families: unknown depths; there are core, depth"):
        FeatureSpec(SamplingSettings(families=("core", "depths")), False)


def test_families_and_clock_are_part_of_the_fingerprint() -> None:
    specs = [
        FeatureSpec(SamplingSettings(**chosen), False)  # type: ignore[arg-type]  # settings by name
        for chosen in (
            {},
            {"families": ("depth",)},
            {"clock": "time"},
            {"clock": "trades"},
            {"clock": "trades", "every_trades": 6},
        )
    ]
    assert len({spec.fingerprint for spec in specs}) == 5


def test_a_family_gives_the_same_bits_alone_as_with_all_others(rows: FeatureRows, tape: EventArray) -> None:
    for family in FAMILIES:
        chosen = SAMPLING.model_copy(update={"families": (family,)})
        pipeline = FeaturePipeline(instrument(), chosen, SESSION.open_ns, SESSION.close_ns, False)
        alone = pipeline.step(pipeline.init(), tape)[1]
        at = [rows.columns.index(name) for name in alone.columns]
        assert len(at) > len(FeatureSpec(SamplingSettings(), False).columns)
        assert alone.values.tobytes() == np.ascontiguousarray(rows.values[:, at]).tobytes()
