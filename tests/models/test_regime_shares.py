"""A bet's share by regime: in the edge, from filtered probabilities, in every model, on the one inference path."""

from dataclasses import replace

import numpy as np
import pytest

from features.fitted.regimes import filter_regimes, init_regimes
from marketdata.settings import Settings
from models.bundle import Bundle, BundlePredictor, load_bundle
from models.design import design_step, init_design
from models.training import fit_bundle, forecast_rows, probabilities_of, trial_of

SHARES = (1.0, 0.6, 0.1)


def sized(settings: Settings, shares: tuple[float, float, float] = SHARES) -> Settings:
    return settings.model_copy(update={"sizing": settings.sizing.model_copy(update={"regime_shares": shares})})


def fitted(world, name: str) -> Bundle:
    return fit_bundle(world.root, sized(world.settings), world.dataset, world.fold, name, world.points)


def shares_of(bundle: Bundle, world) -> np.ndarray:
    """Return the shares by the plain sum over filtered probabilities."""
    data, rows = world.dataset, world.fold.test
    regimes = bundle.design.regimes
    session = data.sessions[int(data.session[rows[0]])]
    x = design_step(
        replace(bundle.design, members=()),
        init_design(bundle.design, session),
        data.instrument_id[rows].astype(np.int64),
        data.ts_recv[rows],
        data.x[rows],
        np.zeros(len(rows), np.int8),
    )[1].x
    places = [bundle.design.scaler.columns.index(name) for name in regimes.columns]
    state = init_regimes(regimes, len(data.instruments))
    p = filter_regimes(regimes, state, data.instrument_id[rows].astype(np.int64), x[:, places])[1]
    return p @ np.array(SHARES)


@pytest.mark.parametrize("name", ["linear", "hawkes", "queue_imbalance"])
def test_edges_shrink_by_the_mean_share_and_probabilities_stay(world, name: str) -> None:
    bundle, plain = fitted(world, name), world.bundles[name]
    data, rows = world.dataset, world.fold.test
    made, before = forecast_rows(bundle, data, rows), forecast_rows(plain, data, rows)
    assert np.array_equal(probabilities_of(made), probabilities_of(before))
    share = shares_of(bundle, world)
    assert share.min() < 0.5 < share.max() <= 1.0
    assert made["edge_units"] == pytest.approx(before["edge_units"] * share, abs=3e-6)
    assert trial_of(sized(world.settings), data, name) != trial_of(world.settings, data, name)


def test_a_row_at_a_time_gives_the_same_bits_and_the_file_keeps_the_shares(world) -> None:
    bundle = load_bundle(world.root.bundles / fitted(world, "linear").manifest.key)
    assert bundle.design.regime_shares == SHARES
    data, rows = world.dataset, world.fold.test[:150]
    predictor = BundlePredictor(bundle)
    state, single = predictor.init(data.sessions[int(data.session[rows[0]])]), []
    for k in rows:
        state, _, edge = predictor.step(state, int(data.instrument_id[k]), int(data.ts_recv[k]), data.x[k])
        single.append(edge)
    assert np.array_equal(single, forecast_rows(bundle, data, world.fold.test)["edge_units"][:150])


def test_without_regimes_the_smallest_share_holds(world) -> None:
    design = replace(world.bundles["queue_imbalance"].design, regime_shares=SHARES)
    data, rows = world.dataset, world.fold.test[:5]
    _, seen = design_step(
        design, init_design(design), data.instrument_id[rows].astype(np.int64), data.ts_recv[rows], data.x[rows],
        np.zeros(5, np.int8),
    )  # fmt: skip
    assert seen.share_of_bet.tolist() == [0.1] * 5


@pytest.mark.parametrize("shares", [(1.0, 0.5), (1.0, 1.2, 0.5), (1.0, 0.5, -0.1)])
def test_shares_are_three_and_between_nothing_and_one(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="regime_shares"):
        Settings.model_validate({"sizing": {"regime_shares": shares}})
