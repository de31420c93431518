"""What a forecast is worth, and how strongly a logit is held back: both are found inside the training window."""

from dataclasses import replace

import numpy as np
import pytest

from models.forecaster import DesignRows, TrainingBlock
from models.linear import PENALTIES, choose_logit, fit_logit, logit_probabilities
from models.training import forecast_rows
from models.training_window import edge_scale_units
from tests.models.rows import small_dataset


def forecasts_of(lead: np.ndarray) -> np.ndarray:
    up, down = np.maximum(lead, 0.0), np.maximum(-lead, 0.0)
    return np.stack([down, 1.0 - up - down, up], axis=1)


def block_of(x: np.ndarray, y: np.ndarray, held_out: int) -> TrainingBlock:
    n = len(y)
    names = tuple(f"c{k}" for k in range(x.shape[1]))
    ts, zeros = np.arange(n, dtype=np.int64), np.zeros(n, np.int64)
    rows = DesignRows(names, names, ts, zeros, x, x, np.zeros(n, np.int8))
    every = np.arange(n)
    return TrainingBlock(rows, zeros, y, every, every[: n - held_out], every[n - held_out :], 1)


def noisy(columns: int, effect: float) -> TrainingBlock:
    generator = np.random.default_rng(3)
    x = generator.normal(size=(1_200, columns)).astype(np.float32)
    y = np.sign(np.round(effect * x[:, 0] + generator.normal(size=len(x)))).astype(np.int8)
    return block_of(x, y, 400)


class TestEdge:
    def moves(self, worth: float, strength: float) -> tuple:
        data = small_dataset(count=2)
        generator = np.random.default_rng(1)
        lead = strength * generator.uniform(-1.0, 1.0, len(data))
        moves = (worth * lead + generator.normal(size=len(data)) * 2.0).astype(np.float32)
        return replace(data, move_units=moves), np.arange(len(data)), forecasts_of(lead)

    def test_a_forecast_is_worth_the_move_that_follows_it(self) -> None:
        data, rows, p = self.moves(4.0, 1.0)
        found = edge_scale_units(data, rows, p, np.array([3.0, 3.0]))
        assert found == pytest.approx([4.0, 4.0], abs=0.3)
        lead = p[:, 2] - p[:, 0]
        ratio = (data.move_units @ lead) / (lead @ lead) / found.mean()
        assert ratio == pytest.approx(1.0, abs=0.05), "an edge is neither promised too large nor too small"

    def test_what_rows_cannot_tell_stays_the_mean_size_of_a_move(self) -> None:
        data, rows, p = self.moves(4.0, 0.005)
        assert edge_scale_units(data, rows, p, np.array([3.0, 2.0])) == pytest.approx([3.0, 2.0], rel=0.05)

    def test_forecasts_that_are_wrong_are_worth_nothing_and_never_less(self) -> None:
        data, rows, p = self.moves(-4.0, 1.0)
        assert edge_scale_units(data, rows, p, np.array([3.0, 3.0])).tolist() == [0.0, 0.0]

    def test_rows_without_a_move_and_instruments_without_rows_change_nothing(self) -> None:
        data, rows, p = self.moves(4.0, 1.0)
        blind = replace(data, move_units=np.where(data.instrument_id == 1, np.nan, data.move_units))
        found = edge_scale_units(blind, rows, p, np.array([3.0, 3.0]))
        assert found[1] == 3.0
        assert found[0] == edge_scale_units(data, rows, p, np.array([3.0, 3.0]))[0]


class TestPenalty:
    def test_among_noise_the_logit_is_held_back_and_where_much_is_to_be_learnt_it_is_not(self) -> None:
        held_back, free = choose_logit(noisy(60, 0.3)), choose_logit(noisy(3, 3.0))
        assert held_back is not None
        assert free is not None
        assert held_back.penalty >= 0.03
        assert free.penalty < held_back.penalty

    def test_the_choice_is_the_best_on_the_held_out_rows_and_sees_no_others(self) -> None:
        block = noisy(60, 0.3)
        found = choose_logit(block)
        assert found is not None
        assert found.tried[found.penalty] == min(found.tried.values())
        assert list(found.tried) == list(PENALTIES)[: len(found.tried)]
        again = fit_logit(block.rows.x[block.train], block.y[block.train], found.penalty, tolerance=1e-3)
        assert np.array_equal(found.logit.coefficients, again.coefficients)
        late = logit_probabilities(found.logit, block.rows.x[block.valid])
        expected = -np.log(late[np.arange(len(late)), block.y[block.valid] + 1]).mean()
        assert found.tried[found.penalty] == pytest.approx(expected, rel=1e-5)

    def test_a_window_too_small_for_a_split_chooses_nothing(self) -> None:
        block = noisy(3, 1.0)
        assert choose_logit(replace(block, valid=block.valid[:0])) is None


def test_edges_are_of_the_size_of_the_moves_that_follow(world) -> None:
    data, rows = world.dataset, world.fold.test
    made = forecast_rows(world.bundles["linear"], data, rows)
    edge, move = made["edge_units"].astype(np.float64), data.move_units[rows].astype(np.float64)
    known = np.isfinite(move)
    assert (edge[known] @ move[known]) / (edge[known] @ edge[known]) == pytest.approx(1.0, abs=0.15)
