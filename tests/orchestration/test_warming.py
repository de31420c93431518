"""What setup compiles is what runs later: no kernel of a night is left for the first user to wait for."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from orchestration.warming import TASKS, warm_task
from tests.backtests.conftest import Hour

KERNELS = {
    "the simulated market": ("marketdata.simulator.flow", "run_flow"),
    "kernels of the features": ("features.kernel", "fold_events"),
    "kernels of the engine": ("trading.scheduler", "run_kernel"),
    "decoders of the venues": ("marketdata.codecs.binance_scan", "scan_frames"),
}


@pytest.mark.parametrize("name", TASKS)
def test_every_part_compiles_its_largest_kernel(name: str) -> None:
    module, kernel = KERNELS[name]
    assert warm_task(name) > 0.0
    assert getattr(sys.modules[module], kernel).signatures


def test_a_session_that_trades_needs_no_other_engine_than_the_one_that_setup_compiled() -> None:
    code = (
        "from orchestration.warming import warm_task; warm_task('kernels of the engine'); "
        "from trading.scheduler import run_kernel; compiled = len(run_kernel.signatures); "
        "from tests.backtests.conftest import make_hour; from backtests.replay import run_backtest; "
        "from tests.orchestration.test_warming import forecasts; made = make_hour(); "
        "result = run_backtest(made.settings, made.session, made.events, forecasts(made)); "
        "assert len(result.journal) > 0; assert len(run_kernel.signatures) == compiled == 1"
    )
    there = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(there)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-2_000:]


def forecasts(made: Hour) -> np.ndarray:
    """Return a forecast every minute that the price goes up, for the hour's first instrument."""
    from models.forecast import FORECAST_DTYPE

    session, instrument = made.session, made.settings.instruments[0]
    out = np.zeros(20, FORECAST_DTYPE)
    out["ts_recv"] = session.open_ns + (1 + np.arange(20)) * 60_000_000_000
    out["due_ns"] = out["ts_recv"]
    out["p_up"] = 1.0
    out["edge_units"] = 50.0
    out["instrument_id"] = instrument.instrument_id
    return out
