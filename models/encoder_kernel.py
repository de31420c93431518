"""The forward pass of a BERT encoder at a batch of one, in numba: the same numbers as torch within 1e-5, without torch.

Only what the newest row's output needs is computed: in the last layer there is one query. Embedded rows are kept in a
ring an instrument, so a row is embedded once. Inner loops run over the width, each output with its own sum, so the
order of every addition is fixed.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from models.linear import softmax_in_place

Float32 = npt.NDArray[np.float32]

LAYER_NORM_EPSILON = 1e-12
"""BERT's default."""


class EncoderArrays(NamedTuple):
    """Weights in the order of multiplication (inputs first), float32; arrays of layers are stacked on axis 0."""

    embed: Float32
    embed_bias: Float32
    places: Float32
    norm: Float32
    query: Float32
    query_bias: Float32
    key: Float32
    key_bias: Float32
    value: Float32
    value_bias: Float32
    mix: Float32
    mix_bias: Float32
    mix_norm: Float32
    inner: Float32
    inner_bias: Float32
    outer: Float32
    outer_bias: Float32
    outer_norm: Float32
    head: Float32
    head_bias: Float32
    around: Float32
    heads: int

    @classmethod
    def of(cls, arrays: dict[str, npt.NDArray[Any]], config: dict[str, Any]) -> "EncoderArrays":
        """Return the kernel's arrays from the torch module's, by their names there."""

        def stack(name: str, *, turned: bool = False) -> Float32:
            parts = [arrays[f"encoder.encoder.layer.{k}.{name}"] for k in range(config["layers"])]
            return np.ascontiguousarray(np.stack([part.T if turned else part for part in parts]), dtype=np.float32)

        def norms(name: str) -> Float32:
            return np.ascontiguousarray(np.stack([stack(f"{name}.weight"), stack(f"{name}.bias")], axis=1))

        def plain(name: str) -> Float32:
            return np.ascontiguousarray(arrays[name].T, dtype=np.float32)

        spots = arrays["encoder.embeddings.position_embeddings.weight"]
        kind = arrays["encoder.embeddings.token_type_embeddings.weight"][0]
        first = [arrays[f"encoder.embeddings.LayerNorm.{part}"] for part in ("weight", "bias")]
        return cls(
            embed=plain("embed.weight"),
            embed_bias=plain("embed.bias"),
            places=np.ascontiguousarray(spots + kind, dtype=np.float32),
            norm=np.ascontiguousarray(np.stack(first), dtype=np.float32),
            query=stack("attention.self.query.weight", turned=True),
            query_bias=stack("attention.self.query.bias"),
            key=stack("attention.self.key.weight", turned=True),
            key_bias=stack("attention.self.key.bias"),
            value=stack("attention.self.value.weight", turned=True),
            value_bias=stack("attention.self.value.bias"),
            mix=stack("attention.output.dense.weight", turned=True),
            mix_bias=stack("attention.output.dense.bias"),
            mix_norm=norms("attention.output.LayerNorm"),
            inner=stack("intermediate.dense.weight", turned=True),
            inner_bias=stack("intermediate.dense.bias"),
            outer=stack("output.dense.weight", turned=True),
            outer_bias=stack("output.dense.bias"),
            outer_norm=norms("output.LayerNorm"),
            head=plain("head.weight"),
            head_bias=plain("head.bias"),
            around=plain("around.weight"),
            heads=int(config["heads"]),
        )


@njit(cache=True, nogil=True)
def affine(x: Float32, weight: Float32, bias: Float32, out: Float32) -> None:
    """Write x·weight + bias of one row to ``out``."""
    for j in range(out.shape[0]):
        out[j] = bias[j]
    for k in range(x.shape[0]):
        value = x[k]
        for j in range(out.shape[0]):
            out[j] += value * weight[k, j]


@njit(cache=True, nogil=True)
def layer_norm(x: Float32, norm: Float32) -> None:
    """Normalise one row in place with BERT's epsilon; ``norm`` is (2, d): gain and offset."""
    width = x.shape[0]
    mean = 0.0
    for j in range(width):
        mean += np.float64(x[j])
    mean /= width
    spread = 0.0
    for j in range(width):
        gap = np.float64(x[j]) - mean
        spread += gap * gap
    scale = 1.0 / math.sqrt(spread / width + LAYER_NORM_EPSILON)
    for j in range(width):
        x[j] = np.float32((np.float64(x[j]) - mean) * scale) * norm[0, j] + norm[1, j]


@njit(cache=True, nogil=True)
def encoder_rows(
    net: EncoderArrays,
    ring: Float32,
    count: npt.NDArray[np.int64],
    instrument: npt.NDArray[np.int64],
    x: Float32,
    out: npt.NDArray[np.float64],
) -> None:
    """Push each row into its instrument's ring and write its probabilities to ``out``, shape (n, 3).

    Parameters
    ----------
    ring : float32 array, shape (I, T, d)
        Embedded rows, changed in place.
    count : int64 array, shape (I,)
        Rows pushed so far, changed in place.
    """
    window, width = ring.shape[1], ring.shape[2]
    layers, inner_width = net.inner.shape[0], net.inner.shape[2]
    hidden = np.empty((window, width), dtype=np.float32)
    keys = np.empty((window, width), dtype=np.float32)
    values = np.empty((window, width), dtype=np.float32)
    fresh = np.empty((window, width), dtype=np.float32)
    query = np.empty(width, dtype=np.float32)
    mixed = np.empty(width, dtype=np.float32)
    wide = np.empty(inner_width, dtype=np.float32)
    scores = np.empty(window, dtype=np.float64)
    around = np.empty(3, dtype=np.float32)
    final = np.empty(3, dtype=np.float32)
    nothing = np.zeros(3, dtype=np.float32)
    depth = width // net.heads
    for n in range(x.shape[0]):
        k = instrument[n]
        affine(x[n], net.embed, net.embed_bias, ring[k, count[k] % window])
        count[k] += 1
        held = min(count[k], window)
        begin = window - held
        for t in range(begin, window):
            at = (count[k] - window + t) % window
            for j in range(width):
                hidden[t, j] = ring[k, at, j] + net.places[t, j]
            layer_norm(hidden[t], net.norm)
        for layer in range(layers):
            for t in range(begin, window):
                affine(hidden[t], net.key[layer], net.key_bias[layer], keys[t])
                affine(hidden[t], net.value[layer], net.value_bias[layer], values[t])
            first = window - 1 if layer == layers - 1 else begin
            for t in range(first, window):
                affine(hidden[t], net.query[layer], net.query_bias[layer], query)
                for h in range(net.heads):
                    low, high = h * depth, (h + 1) * depth
                    top = -np.inf
                    for s in range(begin, window):
                        dot = 0.0
                        for j in range(low, high):
                            dot += np.float64(query[j]) * np.float64(keys[s, j])
                        scores[s] = dot / math.sqrt(depth)
                        top = max(top, scores[s])
                    total = 0.0
                    for s in range(begin, window):
                        scores[s] = math.exp(scores[s] - top)
                        total += scores[s]
                    for j in range(low, high):
                        mixed[j] = np.float32(0.0)
                    for s in range(begin, window):
                        share = np.float32(scores[s] / total)
                        for j in range(low, high):
                            mixed[j] += share * values[s, j]
                affine(mixed, net.mix[layer], net.mix_bias[layer], fresh[t])
                for j in range(width):
                    fresh[t, j] += hidden[t, j]
                layer_norm(fresh[t], net.mix_norm[layer])
                affine(fresh[t], net.inner[layer], net.inner_bias[layer], wide)
                for j in range(inner_width):
                    value = np.float64(wide[j])
                    wide[j] = np.float32(0.5 * value * (1.0 + math.erf(value / math.sqrt(2.0))))
                affine(wide, net.outer[layer], net.outer_bias[layer], query)
                for j in range(width):
                    fresh[t, j] += query[j]
                layer_norm(fresh[t], net.outer_norm[layer])
            for t in range(first, window):
                for j in range(width):
                    hidden[t, j] = fresh[t, j]
        affine(hidden[window - 1], net.head, net.head_bias, final)
        affine(x[n], net.around, nothing, around)
        for c in range(3):
            out[n, c] = np.float64(final[c]) + np.float64(around[c])
        softmax_in_place(out[n])
