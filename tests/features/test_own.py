"""Features of one's own: a kernel cannot look ahead, a fold that does is named with its first offending row."""

from pathlib import Path

import numpy as np
import pytest

from features.catalog import catalogue
from features.own import OwnFeatureError, check_catalogue, check_own, load_own
from features.pipeline import FeaturePipeline
from marketdata.settings import SamplingSettings
from tests.features.tape import SESSION, instrument, random_tape

TAPE = random_tape(41, 400)
FOLD = """
import numpy as np

class Feature:
    name, unit, formula = "flow", "lots", "signed lots executed so far"

    def init(self):
        return 0

    def step(self, state, events):
        signed = np.where(events["action"] == 4, -events["side"] * events["size_lots"], 0)
        {body}

FEATURE = Feature()
"""
KERNEL = """
from features.own import OwnKernel, own_step

@own_step
def step(state, now, action, side, price, lots, bid, bid_lots, ask, ask_lots):
    state[0] = 0.9 * state[0] + (bid_lots - ask_lots)
    return state[0] if bid_lots > 0 and ask_lots > 0 else float("nan")

FEATURE = OwnKernel("queue_pressure", "lots", "decayed difference of the best queues", 1, step)
"""


def _written(folder: Path, text: str) -> Path:
    path = folder / "mine.py"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_causal_fold_keeps_the_laws(tmp_path: Path) -> None:
    body = "return state + signed.sum(), state + np.cumsum(signed).astype(float)"
    assert check_own(load_own(_written(tmp_path, FOLD.format(body=body))), TAPE) == []


def test_a_fold_that_peeks_at_the_next_row_is_named_with_the_first_row_that_does(tmp_path: Path) -> None:
    body = "return state, np.append(signed[1:], 0).astype(float)"
    found = check_own(load_own(_written(tmp_path, FOLD.format(body=body))), TAPE)
    signed = np.where(TAPE["action"] == 4, -TAPE["side"] * TAPE["size_lots"], 0)
    assert [finding.law for finding in found] == ["look-ahead"]
    assert found[0].row == np.flatnonzero(signed)[0] - 1


def test_a_fold_that_depends_on_the_cut_and_one_that_is_infinite_are_told_apart(tmp_path: Path) -> None:
    body = "return state, np.cumsum(signed).astype(float)"
    found = check_own(load_own(_written(tmp_path, FOLD.format(body=body))), TAPE)
    assert [finding.law for finding in found] == ["chunks"]
    body = "return state, np.where(events['action'] == 4, np.inf, 0.0)"
    found = check_own(load_own(_written(tmp_path, FOLD.format(body=body))), TAPE)
    assert [(f.law, f.row) for f in found] == [("finite", int(np.flatnonzero(TAPE["action"] == 4)[0]))]


def test_a_kernel_sees_each_event_with_the_best_quotes_after_it(tmp_path: Path) -> None:
    from marketdata.book import empty_book, fold_best

    feature = load_own(_written(tmp_path, KERNEL))
    assert check_own(feature, TAPE) == []
    values = feature.step(feature.init(), TAPE)[1]
    best = fold_best(empty_book(), TAPE)
    expected, state = [], 0.0
    for _, bid_lots, _, ask_lots in best:
        state = 0.9 * state + (bid_lots - ask_lots)
        expected.append(state if bid_lots and ask_lots else np.nan)
    np.testing.assert_allclose(values, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "says"),
    [("FEATURE = 3", "must have name"), ("import nothing_like_it", "ModuleNotFoundError"), ("x = 1", "must have name")],
)
def test_a_file_without_a_feature_is_refused_with_its_name(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(OwnFeatureError, match=rf"mine\.py.*{says}"):
        load_own(_written(tmp_path, text))


def test_the_catalogue_passes_its_own_lint_and_a_broken_kernel_would_not(monkeypatch: pytest.MonkeyPatch) -> None:
    sampling = SamplingSettings(every_events=7, families=("all",))
    pipeline = FeaturePipeline(instrument(), sampling, SESSION.open_ns, SESSION.close_ns, True)
    tape = random_tape(42, 3_000)
    assert check_catalogue(pipeline, catalogue(pipeline.spec), tape) == []
    fold = FeaturePipeline.step

    def peeking(self, state, batch):  # type: ignore[no-untyped-def]  # stands in for a kernel
        state, rows = fold(self, state, batch)
        rows.values[:, 3] = np.roll(rows.values[:, 3], -1)
        return state, rows

    monkeypatch.setattr(FeaturePipeline, "step", peeking)
    found = check_catalogue(pipeline, catalogue(pipeline.spec), tape)
    assert {(f.feature, f.law) for f in found} == {
        (pipeline.columns[3], "chunks"),
        (pipeline.columns[3], "look-ahead"),
    }
