"""What order flow explains in recorded NASDAQ messages: the figures of rule R10, from the kernel's own totals."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from features.pipeline import FeaturePipeline
from features.spec import LEVELS
from features.state import C_BUY_LOTS, C_COUNT, C_DEPTH_ALL, C_LEVELS, C_MID2, C_OFI, C_SELL_LOTS, S_MID2
from marketdata.clock import NS_PER_S
from marketdata.events import F_LAST
from marketdata.settings import SamplingSettings
from marketdata.sources import build_source, preset

pytestmark = pytest.mark.realdata

Float64 = npt.NDArray[np.float64]
BIN_NS = 10 * NS_PER_S
WINDOW = 180
"""Bins of a half hour."""


@pytest.fixture(scope="module")
def bins(shared_data: Path) -> Float64:
    """Return the change of every running total in each 10 s of AMZN's day, shape (2,340, C)."""
    settings = preset("lobster", shared_data / "market" / "lobster")
    source = build_source(settings)
    session = source.sessions()[0]
    events = source.events(source.raw_ticks(session.date, "AMZN"), session.date, "AMZN")
    sampling = SamplingSettings(every_events=1_000_000)
    pipeline = FeaturePipeline(settings.instrument("AMZN"), sampling, session.open_ns, session.close_ns, False)
    edges = np.arange(session.open_ns + BIN_NS, session.close_ns + 1, BIN_NS)
    cuts = np.searchsorted(events["ts_recv"], edges, side="right")
    first = int(np.flatnonzero(events["flags"] & F_LAST)[0]) + 1
    state, _ = pipeline.step(pipeline.init(), events[:first])
    totals = np.zeros((len(cuts) + 1, C_COUNT))
    totals[0, C_MID2] = state.at[S_MID2]
    for k, (begin, end) in enumerate(zip([first, *cuts[:-1]], cuts, strict=True)):
        state, _ = pipeline.step(state, events[begin:end])
        totals[k + 1] = state.total
        totals[k + 1, C_MID2] = state.at[S_MID2]
    return np.diff(totals, axis=0)


def _explained(x: Float64, move: Float64) -> tuple[float, float]:
    """Return the mean of R² over half hours, and R² of the whole day."""
    parts = [slice(k, k + WINDOW) for k in range(0, len(move), WINDOW)]
    return float(np.mean([np.corrcoef(x[p], move[p])[0, 1] ** 2 for p in parts])), float(
        np.corrcoef(x, move)[0, 1] ** 2
    )


def test_trades_and_the_best_level_explain_what_they_did_before(bins: Float64) -> None:
    move = bins[:, C_MID2]
    trades = _explained(bins[:, C_BUY_LOTS] - bins[:, C_SELL_LOTS], move)
    best = _explained(bins[:, C_OFI], move)
    assert trades == (pytest.approx(0.36, abs=0.005), pytest.approx(0.319, abs=0.002))
    assert best == (pytest.approx(0.53, abs=0.01), pytest.approx(0.312, abs=0.002))


def test_integrated_flow_explains_most_of_the_move_also_in_the_next_half_hour(bins: Float64) -> None:
    move = bins[:, C_MID2]
    depth = bins[:, C_DEPTH_ALL] / np.maximum(bins[:, C_LEVELS], 1)
    flows = bins[:, C_OFI : C_OFI + LEVELS] / np.maximum(depth, 1)[:, None]
    inside, ahead = [], []
    for k in range(0, len(move), WINDOW):
        here, there = slice(k, k + WINDOW), slice(k + WINDOW, k + 2 * WINDOW)
        weights = np.linalg.eigh(np.cov(flows[here].T))[1][:, -1]
        weights = weights * np.sign(weights.sum()) / np.abs(weights).sum()
        fit = np.polyfit(flows[here] @ weights, move[here], 1)
        inside.append(np.corrcoef(flows[here] @ weights, move[here])[0, 1] ** 2)
        if there.stop <= len(move):
            error = move[there] - np.polyval(fit, flows[there] @ weights)
            ahead.append(1.0 - error.var() / move[there].var())
    assert np.mean(inside) == pytest.approx(0.83, abs=0.03)
    assert np.mean(ahead) == pytest.approx(0.83, abs=0.03)
