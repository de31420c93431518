"""Our scores against scikit-learn's, and what an honest forecast looks like."""

import numpy as np
import pytest
from sklearn import metrics

from features.dataset import LABEL_MISSING
from models.evaluation import calibration, log_losses, score


@pytest.fixture(scope="module")
def forecasts() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    p = generator.dirichlet([1.0, 2.0, 1.5], 4_000)
    y = (np.array([generator.choice(3, p=row) for row in p]) - 1).astype(np.int8)
    return p, y


def test_scores_equal_those_of_scikit_learn(forecasts):
    p, y = forecasts
    found, called = score(p, y), np.argmax(p, axis=1) - 1
    assert found["mcc"] == pytest.approx(metrics.matthews_corrcoef(y, called))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(y, called))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(y, called, average="macro"))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(y, p))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(y, called))
    assert found["confusion"] == metrics.confusion_matrix(y, called).tolist()


def test_an_honest_forecast_is_calibrated_and_an_overconfident_one_is_not(forecasts):
    p, y = forecasts
    sharper = p**3 / (p**3).sum(axis=1, keepdims=True)
    assert calibration(p, y)["ece"] < 0.02
    assert calibration(sharper, y)["ece"] > 0.08
    for mean, frequency, rows in calibration(p, y)["curve"]["up"]:
        assert frequency == pytest.approx(mean, abs=4.5 * np.sqrt(0.25 / rows))


def test_missing_labels_are_left_out(forecasts):
    p, y = forecasts
    gaps = y.copy()
    gaps[::3] = LABEL_MISSING
    kept = gaps != LABEL_MISSING
    assert score(p, gaps) == score(p[kept], y[kept])
    assert np.isnan(log_losses(p, gaps)[::3]).all()


def test_a_constant_forecast_has_no_correlation_and_no_rows_have_no_score(forecasts):
    p, y = forecasts
    constant = np.tile([0.2, 0.5, 0.3], (len(y), 1))
    assert score(constant, y)["mcc"] == 0.0
    assert score(constant, y)["balanced_accuracy"] == pytest.approx(1 / 3)
    empty = score(p[:0], y[:0])
    assert empty["rows"] == 0
    assert np.isnan(empty["log_loss"])
