"""The numba forward passes against torch, for forms larger than the default ones."""

import numpy as np
import pytest

from models.forecaster import DesignRows, Weights, step_sessions
from models.gnn import GraphModel, latest_rows
from models.gnn import build_network as build_graph
from models.linear import ABSENT_LOG_ODDS, fit_logit, logit_probabilities
from models.reproducible import reproducible_torch, spread, state_arrays
from models.transformer import TransformerModel, network_logits, window_index
from models.transformer import build_network as build_encoder


def random_rows(count: int, inputs: int, instruments: int, seed: int = 0) -> tuple[DesignRows, np.ndarray]:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(count, inputs)).astype(np.float32)
    ts = np.cumsum(generator.integers(1, 9_000_000_000, count))
    rows = DesignRows(
        (),
        tuple(map(str, range(inputs))),
        ts,
        generator.integers(0, instruments, count),
        x[:, :0],
        x,
        np.zeros(count, np.int8),
    )
    return rows, (np.arange(count) >= count // 2).astype(np.int64)


@pytest.mark.parametrize(("width", "layers", "heads", "window"), [(32, 1, 2, 32), (16, 3, 4, 5), (24, 2, 1, 12)])
def test_the_encoder_kernel_equals_torch(width, layers, heads, window):
    config = {
        "inputs": 11,
        "instruments": 2,
        "width": width,
        "layers": layers,
        "heads": heads,
        "inner_width": 2 * width,
        "window": window,
        "dropout": 0.1,
    }
    with reproducible_torch(3):
        arrays = state_arrays(build_encoder(config))
    arrays = {name: np.asarray(value + 0.05 * np.sign(value), dtype=value.dtype) for name, value in arrays.items()}
    model = TransformerModel.restore(Weights(arrays, config))
    rows, session = random_rows(90, 11, 2)
    assert np.abs(step_sessions(model, rows, session) - model.forecast(rows, session)).max() < 1e-5


@pytest.mark.parametrize("layers", [1, 2])
def test_the_newest_place_is_what_the_whole_encoder_says_of_it_and_so_are_the_gradients(layers):
    import torch

    config = {"inputs": 7, "width": 16, "layers": layers, "heads": 2, "inner_width": 32, "window": 6, "dropout": 0.0}
    index = np.arange(40)[:, None] + np.arange(-5, 1)
    index[index < 0] = -1
    at = torch.from_numpy(index)
    with reproducible_torch(5):
        net = build_encoder(config)
        for weights in net.parameters():
            torch.nn.init.normal_(weights, std=0.3)
        x = torch.randn(40, 7)
        windows = x[at.clamp(min=0)]
        whole = net["encoder"](inputs_embeds=net["embed"](windows), attention_mask=(at >= 0).long()).last_hidden_state
        expected = net["head"](whole[:, -1]) + net["around"](windows[:, -1])
        found = network_logits(net, x, index)
        with torch.no_grad():
            unlearned = network_logits(net, x, index)
        names, weights = zip(*net.named_parameters(), strict=True)
        slopes = [torch.autograd.grad((logits**2).sum(), weights, allow_unused=True) for logits in (expected, found)]
    assert (expected - found).abs().max() < 1e-5
    assert (found - unlearned).abs().max() < 1e-5
    for name, whole_slope, slope in zip(names, *slopes, strict=True):
        if not name.endswith(("word_embeddings.weight", "key.bias")):  # the first is not used, the second has no effect
            assert (whole_slope - slope).abs().max() < 1e-4 * whole_slope.abs().max(), name


@pytest.mark.parametrize(("width", "heads", "instruments"), [(32, 2, 5), (16, 4, 3), (8, 1, 1)])
def test_the_graph_kernel_equals_torch_geometric(width, heads, instruments):
    config = {
        "inputs": 9,
        "instruments": instruments,
        "width": width,
        "heads": heads,
        "dropout": 0.1,
    }
    with reproducible_torch(4):
        arrays = state_arrays(build_graph(config))
    model = GraphModel.restore(Weights(arrays, config))
    rows, session = random_rows(120, 9, instruments)
    assert np.abs(step_sessions(model, rows, session) - model.forecast(rows, session)).max() < 1e-5


def test_windows_hold_the_instruments_own_rows_of_the_session():
    rows, session = random_rows(40, 3, 2)
    index = window_index(rows, session, 4)
    for n in range(40):
        own = [m for m in range(n + 1) if rows.instrument[m] == rows.instrument[n] and session[m] == session[n]][-4:]
        assert index[n].tolist() == [-1] * (4 - len(own)) + own


def test_nodes_hold_the_latest_row_of_each_instrument_in_the_session():
    rows, session = random_rows(40, 3, 3)
    index, age = latest_rows(rows, session, 3)
    for n in range(40):
        for k in range(3):
            own = [m for m in range(n + 1) if rows.instrument[m] == k and session[m] == session[n]]
            assert index[n, k] == (own[-1] if own else -1)
            seconds = (rows.ts_recv[n] - rows.ts_recv[own[-1]]) / 1e9 if own else 0.0
            assert age[n, k] == pytest.approx(np.log1p(seconds), rel=1e-6)


def test_the_logit_kernel_equals_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(0)
    x = generator.normal(size=(500, 4))
    y = np.sign(np.round(x[:, 0] + generator.normal(size=500) * 0.7)).astype(np.int8)
    theirs = LogisticRegression(C=1 / (1e-3 * 500), max_iter=300).fit(x, y).predict_proba(x)
    assert logit_probabilities(fit_logit(x, y, 1e-3), x) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("classes", [(0,), (-1, 1), (0, 1)])
def test_a_class_that_never_came_is_improbable_but_possible(classes):
    generator = np.random.default_rng(0)
    y = generator.choice(classes, 200).astype(np.int8)
    p = logit_probabilities(fit_logit(generator.normal(size=(200, 2)), y, 1e-3), np.zeros((1, 2)))[0]
    for k in range(3):
        assert (p[k] < 1e-3) == (k - 1 not in classes)
    assert p.min() > np.exp(2 * ABSENT_LOG_ODDS)


def test_a_row_cap_spreads_evenly():
    assert spread(np.arange(10), 20).tolist() == list(range(10))
    assert spread(np.arange(101), 11).tolist() == list(range(0, 101, 10))
