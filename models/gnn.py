"""A graph network: each instrument is a node with its latest row, and the one whose row arrived listens to all.

The graph is complete: attention learns who leads whom. Nodes that have had no row in the session are masked; how old a
neighbour's row is, is part of its node. torch-geometric trains it; serving is a numba kernel equal to it within 1e-5
(tested).

References
----------
Brody, Alon, Yahav (2022). How attentive are graph attention networks? ICLR (GATv2).
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from marketdata.clock import NS_PER_S
from marketdata.settings import TrainingSettings
from models.forecaster import EVERY_PART, DesignRows, Float64, Part, Role, TrainingBlock, Weights
from models.graph_kernel import GraphArrays, graph_rows
from models.networks import Logits, budget_hyperparameters, fit_network, forecast_network

BATCH: Final = 2048
"""Rows at a time in batched forecasts."""


class GraphState(NamedTuple):
    """Latest design row of each instrument, float32 (I, D), and its receive time, int64 (I,), -1 before the first."""

    latest: npt.NDArray[np.float32]
    ts_recv: npt.NDArray[np.int64]


def build_network(config: dict[str, Any]) -> Any:
    """Return the untrained torch module: node encoder, one GATv2 convolution, head, and a linear path around."""
    import torch
    from torch_geometric.nn import GATv2Conv

    width, heads = config["width"], config["heads"]
    return torch.nn.ModuleDict(
        {
            "encode": torch.nn.Linear(config["inputs"] + 1, width),
            "attend": GATv2Conv(width, width // heads, heads=heads, add_self_loops=False),
            "dropout": torch.nn.Dropout(config["dropout"]),
            "head": torch.nn.Linear(2 * width, 3),
            "around": torch.nn.Linear(config["inputs"], 3, bias=False),
        }
    )


def network_logits(net: Any, x: Any, index: npt.NDArray[np.int64], age: npt.NDArray[np.float32], own: Any) -> Any:
    """Return the logits of rows, a tensor (rows, 3).

    Parameters
    ----------
    x : tensor, shape (n, D)
    index : int64 array, shape (rows, I)
        Latest row of each instrument; -1 masks the node.
    age : float32 array, shape (rows, I)
        log(1 + seconds) since then.
    own : int64 tensor, shape (rows,)
        The rows themselves.
    """
    import torch

    at = torch.from_numpy(index)
    rows, nodes = at.shape
    features = torch.cat([x[at.clamp(min=0)], torch.from_numpy(age)[..., None]], dim=2)
    encoded = torch.relu(net["encode"](features))
    here = torch.relu(net["encode"](torch.cat([x[own], torch.zeros(rows, 1)], dim=1)))
    present = (at >= 0).reshape(-1)
    source = torch.arange(rows * nodes)[present]
    target = torch.arange(rows).repeat_interleave(nodes)[present]
    heard = net["attend"]((encoded.reshape(rows * nodes, -1), here), torch.stack([source, target]))
    joined = net["dropout"](torch.relu(torch.cat([here, heard], dim=1)))
    return net["head"](joined) + net["around"](x[own])


def latest_rows(
    rows: DesignRows, session: npt.NDArray[np.int64], instruments: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return each instrument's latest row at each row (its own included), -1 where none, and log(1 + age in s)."""
    count = len(rows)
    index = np.full((count, instruments), -1, dtype=np.int64)
    index[np.arange(count), rows.instrument] = np.arange(count)
    index = np.maximum.accumulate(index, axis=0)
    starts = np.searchsorted(session, session, side="left")
    index[index < starts[:, None]] = -1
    age = (rows.ts_recv[:, None] - rows.ts_recv[np.maximum(index, 0)]) / NS_PER_S
    return index, np.where(index >= 0, np.log1p(np.maximum(age, 0.0)), 0.0).astype(np.float32)


def graph_logits(rows: DesignRows, session: npt.NDArray[np.int64], instruments: int) -> Logits:
    """Return the function from a network and row numbers to the logits of those rows, each among its neighbours."""
    import torch

    (index, age), x = latest_rows(rows, session, instruments), torch.from_numpy(rows.x)
    return lambda net, chosen: network_logits(net, x, index[chosen], age[chosen], torch.from_numpy(chosen))


@dataclass(frozen=True)
class GraphModel:
    """A trained graph network with its numba form."""

    weights: Weights
    kernel: GraphArrays

    @classmethod
    def restore(cls, weights: Weights) -> "GraphModel":
        """Return the model of these weights."""
        return cls(weights, GraphArrays.of(weights.arrays, weights.config))

    def init(self) -> GraphState:
        """Return a graph whose nodes are all masked."""
        config = self.weights.config
        latest = np.zeros((config["instruments"], config["inputs"]), dtype=np.float32)
        return GraphState(latest, np.full(config["instruments"], -1, dtype=np.int64))

    def step(self, state: GraphState, rows: DesignRows) -> tuple[GraphState, Float64]:
        """Return the state and the probabilities row by row, by the numba kernel."""
        out = np.empty((len(rows), 3))
        graph_rows(self.kernel, state.latest, state.ts_recv, rows.instrument, rows.ts_recv, rows.x, out)
        return state, out

    def forecast(self, rows: DesignRows, session: npt.NDArray[np.int64]) -> Float64:
        """Return the probabilities of all rows in batches, by torch."""
        return self.forecast_at(rows, session, np.arange(len(rows)))

    def forecast_at(self, rows: DesignRows, session: npt.NDArray[np.int64], chosen: npt.NDArray[np.intp]) -> Float64:
        """Return the batched probabilities of chosen rows; the others are context."""
        config = self.weights.config
        logits = graph_logits(rows, session, config["instruments"])
        return forecast_network(lambda: build_network(config), self.weights.arrays, logits, chosen, BATCH)


@dataclass(frozen=True, slots=True)
class GraphForecaster:
    """One attention convolution of width 32 with two heads."""

    name: str = "gnn"
    role: Role = "candidate"
    parts: tuple[Part, ...] = EVERY_PART
    width: int = 32
    heads: int = 2
    dropout: float = 0.1
    learning_rate: float = 3e-3
    weight_decay: float = 0.05

    def hyperparameters(self, training: TrainingSettings) -> dict[str, Any]:
        """Return the form and the training budget."""
        return {
            "width": self.width,
            "heads": self.heads,
            "dropout": self.dropout,
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            **budget_hyperparameters(training),
        }

    def fit(self, block: TrainingBlock, training: TrainingSettings, seed: int) -> GraphModel:
        """Return the trained network; early stopping on the purged inner split."""
        config = {
            "form": "graph",
            "inputs": block.rows.x.shape[1],
            "instruments": block.instruments,
            "width": self.width,
            "heads": self.heads,
            "dropout": self.dropout,
        }
        arrays, diagnostics = fit_network(
            lambda: build_network(config),
            graph_logits(block.rows, block.session, block.instruments),
            block,
            training,
            seed,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            batch=BATCH,
        )
        return GraphModel.restore(Weights(arrays, config, diagnostics))

    def restore(self, weights: Weights) -> GraphModel:
        """Return the model of these weights."""
        return GraphModel.restore(weights)
