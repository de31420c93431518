"""A Transformer encoder over the last rows of the instrument: transformers builds it, torch trains it, numba serves it.

The window is the instrument's own last rows of the session, the newest in the last place, missing ones masked; the
class logits are read at the newest row, with a linear path around the encoder. Serving needs no torch: the forward pass
is a kernel that keeps each instrument's embedded rows in a ring, equal to torch within 1e-5 (tested), about ten times
as fast at a batch of one.

References
----------
Vaswani et al. (2017). Attention is all you need. NeurIPS. Devlin et al. (2019). BERT. NAACL (the encoder's form).
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from marketdata.settings import TrainingSettings
from models.encoder_kernel import EncoderArrays, encoder_rows
from models.forecaster import EVERY_PART, DesignRows, Float64, Part, Role, TrainingBlock, Weights
from models.networks import Logits, budget_hyperparameters, fit_network, forecast_network

BATCH: Final = 1024
"""Rows at a time in batched forecasts."""

Float32 = npt.NDArray[np.float32]


class TransformerState(NamedTuple):
    """Embedded rows of each instrument, float32 (I, T, d), a ring; and how many rows each has had, int64 (I,)."""

    ring: Float32
    pushed: npt.NDArray[np.int64]


def build_network(config: dict[str, Any]) -> Any:
    """Return the untrained torch module: embedding, configured BERT encoder, head, and a linear path around."""
    import torch
    from transformers import BertConfig, BertModel

    encoder = BertConfig(
        vocab_size=1,
        hidden_size=config["width"],
        num_hidden_layers=config["layers"],
        num_attention_heads=config["heads"],
        intermediate_size=config["inner_width"],
        max_position_embeddings=config["window"],
        hidden_dropout_prob=config["dropout"],
        attention_probs_dropout_prob=0.0,  # costs more random numbers than all the rest
        type_vocab_size=1,
        pad_token_id=0,
        attn_implementation="eager",
    )
    return torch.nn.ModuleDict(
        {
            "embed": torch.nn.Linear(config["inputs"], config["width"]),
            "encoder": BertModel(encoder, add_pooling_layer=False),
            "head": torch.nn.Linear(config["width"], 3),
            "around": torch.nn.Linear(config["inputs"], 3, bias=False),
        }
    )


def network_logits(net: Any, x: Any, index: npt.NDArray[np.int64]) -> Any:
    """Return the logits of windows, a tensor (rows, 3).

    Parameters
    ----------
    x : tensor, shape (n, D)
    index : int64 array, shape (rows, T)
        Rows of each window, the newest last; -1 where there is none yet.
    """
    import torch

    at = torch.from_numpy(index)
    if torch.is_grad_enabled():
        embedded = net["embed"](x.index_select(0, at.clamp(min=0).reshape(-1))).view(*at.shape, -1)
    else:  # a row once, however many windows it is in; a gradient would have to be gathered again
        needed, place = np.unique(index, return_inverse=True)
        once = net["embed"](x.index_select(0, torch.from_numpy(needed).clamp(min=0)))
        embedded = once.index_select(0, torch.from_numpy(place.reshape(-1))).view(*at.shape, -1)
    return net["head"](newest_hidden(net["encoder"], embedded, at >= 0)) + net["around"](x[at[:, -1]])


def newest_hidden(encoder: Any, embedded: Any, known: Any) -> Any:
    """Return what a BERT encoder makes of each window's newest place, a tensor (rows, d).

    The last layer is asked for that place alone: one query instead of one a place, and one pass through what follows the
    attention. No other place's output is used, so the value is the same and most of the work is gone.

    Parameters
    ----------
    encoder : BertModel
    embedded : tensor, shape (rows, T, d)
    known : bool tensor, shape (rows, T)
        False where a window has no row; the newest is always known.
    """
    import torch

    first, (*before, last) = encoder.embeddings, encoder.encoder.layer
    spots = first.position_embeddings.weight + first.token_type_embeddings.weight[0]
    hidden = first.dropout(first.LayerNorm(embedded + spots))
    blocked = torch.zeros(known.shape).masked_fill(~known, torch.finfo(torch.float32).min)[:, None]
    for layer in before:
        hidden = layer(hidden, attention_mask=blocked[:, None])
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
    attention, newest = last.attention.self, hidden[:, -1]
    heads, size = attention.num_attention_heads, attention.attention_head_size
    query = attention.query(newest).view(-1, heads, size)
    # q·(K h + k) is (Kᵀ q)·h but for a number that is the same for all places, which the softmax takes away; and the mean of
    # V h + v is V of the mean + v: neither matrix is multiplied with every place.
    asked = torch.einsum("nhs,hsd->nhd", query, attention.key.weight.view(heads, size, -1))
    weight = torch.softmax(asked @ hidden.transpose(1, 2) * size**-0.5 + blocked, dim=-1)
    heard = torch.einsum("nhd,hsd->nhs", weight @ hidden, attention.value.weight.view(heads, size, -1))
    mixed = last.attention.output(heard.reshape(-1, heads * size) + attention.value.bias, newest)
    return last.output(last.intermediate(mixed), mixed)


def window_index(rows: DesignRows, session: npt.NDArray[np.int64], window: int) -> npt.NDArray[np.int64]:
    """Return each row's window: its instrument's last rows of the session, newest last, -1 where missing, (n, T)."""
    out = np.full((len(rows), window), -1, dtype=np.int64)
    group = session * (int(rows.instrument.max(initial=0)) + 1) + rows.instrument
    for value in np.unique(group):
        own = np.flatnonzero(group == value)
        for back in range(min(window, len(own))):
            out[own[back:], window - 1 - back] = own[: len(own) - back]
    return out


def window_logits(rows: DesignRows, session: npt.NDArray[np.int64], window: int) -> Logits:
    """Return the function from a network and row numbers to the logits of their windows."""
    import torch

    index, x = window_index(rows, session, window), torch.from_numpy(rows.x)
    return lambda net, chosen: network_logits(net, x, index[chosen])


@dataclass(frozen=True)
class TransformerModel:
    """A trained encoder with its numba form."""

    weights: Weights
    kernel: EncoderArrays

    @classmethod
    def restore(cls, weights: Weights) -> "TransformerModel":
        """Return the model of these weights."""
        return cls(weights, EncoderArrays.of(weights.arrays, weights.config))

    def init(self) -> TransformerState:
        """Return empty windows."""
        config = self.weights.config
        ring = np.zeros((config["instruments"], config["window"], config["width"]), dtype=np.float32)
        return TransformerState(ring, np.zeros(config["instruments"], dtype=np.int64))

    def step(self, state: TransformerState, rows: DesignRows) -> tuple[TransformerState, Float64]:
        """Return the state and the probabilities row by row, by the numba kernel."""
        out = np.empty((len(rows), 3))
        encoder_rows(self.kernel, state.ring, state.pushed, rows.instrument, rows.x, out)
        return state, out

    def forecast(self, rows: DesignRows, session: npt.NDArray[np.int64]) -> Float64:
        """Return the probabilities of all rows in batches, by torch."""
        return self.forecast_at(rows, session, np.arange(len(rows)))

    def forecast_at(self, rows: DesignRows, session: npt.NDArray[np.int64], chosen: npt.NDArray[np.intp]) -> Float64:
        """Return the batched probabilities of chosen rows; the others are context."""
        config = self.weights.config
        logits = window_logits(rows, session, config["window"])
        return forecast_network(lambda: build_network(config), self.weights.arrays, logits, chosen, BATCH)


@dataclass(frozen=True, slots=True)
class TransformerForecaster:
    """One encoder layer of width 32 over 32 rows by default; a larger one is a matter of these fields."""

    name: str = "transformer"
    role: Role = "candidate"
    parts: tuple[Part, ...] = EVERY_PART
    width: int = 32
    layers: int = 1
    heads: int = 2
    inner_width: int = 64
    window: int = 32
    dropout: float = 0.1
    learning_rate: float = 3e-3
    weight_decay: float = 0.05

    def hyperparameters(self, training: TrainingSettings) -> dict[str, Any]:
        """Return the form and the training budget."""
        return {
            "width": self.width,
            "layers": self.layers,
            "heads": self.heads,
            "inner_width": self.inner_width,
            "window": self.window,
            "dropout": self.dropout,
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            **budget_hyperparameters(training),
        }

    def fit(self, block: TrainingBlock, training: TrainingSettings, seed: int) -> TransformerModel:
        """Return the trained encoder; early stopping on the purged inner split."""
        config = {
            "form": "transformer",
            "inputs": block.rows.x.shape[1],
            "instruments": block.instruments,
            "width": self.width,
            "layers": self.layers,
            "heads": self.heads,
            "inner_width": self.inner_width,
            "window": self.window,
            "dropout": self.dropout,
        }
        arrays, diagnostics = fit_network(
            lambda: build_network(config),
            window_logits(block.rows, block.session, self.window),
            block,
            training,
            seed,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            batch=BATCH,
        )
        return TransformerModel.restore(Weights(arrays, config, diagnostics))

    def restore(self, weights: Weights) -> TransformerModel:
        """Return the model of these weights."""
        return TransformerModel.restore(weights)
