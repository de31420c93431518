"""The graph network for the node whose row arrived, in numba: equal to torch-geometric within 1e-5."""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.clock import NS_PER_S
from models.encoder_kernel import affine
from models.linear import softmax_in_place

Float32 = npt.NDArray[np.float32]

SLOPE = 0.2
"""Negative slope of GATv2's leaky ReLU, torch-geometric's default."""


class GraphArrays(NamedTuple):
    """Weights in the order of multiplication (inputs first), float32."""

    encode: Float32
    encode_bias: Float32
    source: Float32
    source_bias: Float32
    target: Float32
    target_bias: Float32
    attention: Float32
    heard_bias: Float32
    head: Float32
    head_bias: Float32
    around: Float32

    @classmethod
    def of(cls, arrays: dict[str, npt.NDArray[Any]], config: dict[str, Any]) -> "GraphArrays":
        """Return the kernel's arrays from the torch module's, by their names there."""

        def turned(name: str) -> Float32:
            return np.ascontiguousarray(arrays[name].T, dtype=np.float32)

        return cls(
            encode=turned("encode.weight"),
            encode_bias=turned("encode.bias"),
            source=turned("attend.lin_l.weight"),
            source_bias=turned("attend.lin_l.bias"),
            target=turned("attend.lin_r.weight"),
            target_bias=turned("attend.lin_r.bias"),
            attention=np.ascontiguousarray(arrays["attend.att"][0], dtype=np.float32),
            heard_bias=turned("attend.bias"),
            head=turned("head.weight"),
            head_bias=turned("head.bias"),
            around=turned("around.weight"),
        )


@njit(cache=True, nogil=True)
def graph_rows(
    net: GraphArrays,
    latest: Float32,
    latest_ts: npt.NDArray[np.int64],
    instrument: npt.NDArray[np.int64],
    ts_recv: npt.NDArray[np.int64],
    x: Float32,
    out: npt.NDArray[np.float64],
) -> None:
    """Put each row into its node and write that node's probabilities to ``out``, shape (n, 3).

    Parameters
    ----------
    latest : float32 array, shape (I, D)
        Latest row of each node, changed in place.
    latest_ts : int64 array, shape (I,)
        Its receive time, -1 where the node is masked; changed in place.
    """
    nodes, inputs = latest.shape
    width = net.encode.shape[1]
    heads, depth = net.attention.shape
    here = np.empty(width, dtype=np.float32)
    other = np.empty(width, dtype=np.float32)
    asked = np.empty(width, dtype=np.float32)
    told = np.empty((nodes, width), dtype=np.float32)
    scores = np.empty((nodes, heads))
    joined = np.empty(2 * width, dtype=np.float32)
    final = np.empty(3, dtype=np.float32)
    around = np.empty(3, dtype=np.float32)
    nothing = np.zeros(3, dtype=np.float32)
    for n in range(x.shape[0]):
        k = instrument[n]
        for f in range(inputs):
            latest[k, f] = x[n, f]
        latest_ts[k] = ts_recv[n]
        affine(x[n], net.encode[:inputs], net.encode_bias, here)
        for j in range(width):
            here[j] = max(here[j], np.float32(0.0))
        affine(here, net.target, net.target_bias, asked)
        for node in range(nodes):
            if latest_ts[node] < 0:
                continue
            age = np.float32(math.log1p(max((ts_recv[n] - latest_ts[node]) / NS_PER_S, 0.0)))
            affine(latest[node], net.encode[:inputs], net.encode_bias, other)
            for j in range(width):
                other[j] = max(other[j] + age * net.encode[inputs, j], np.float32(0.0))
            affine(other, net.source, net.source_bias, told[node])
            for h in range(heads):
                level = 0.0
                for j in range(depth):
                    value = np.float64(asked[h * depth + j]) + np.float64(told[node, h * depth + j])
                    level += np.float64(net.attention[h, j]) * (value if value > 0.0 else SLOPE * value)
                scores[node, h] = level
        for h in range(heads):
            top = -np.inf
            for node in range(nodes):
                if latest_ts[node] >= 0:
                    top = max(top, scores[node, h])
            total = 0.0
            for node in range(nodes):
                if latest_ts[node] >= 0:
                    scores[node, h] = math.exp(scores[node, h] - top)
                    total += scores[node, h]
            for j in range(h * depth, (h + 1) * depth):
                value = np.float64(net.heard_bias[j])
                for node in range(nodes):
                    if latest_ts[node] >= 0:
                        value += scores[node, h] / total * np.float64(told[node, j])
                joined[width + j] = np.float32(max(value, 0.0))
        for j in range(width):
            joined[j] = here[j]
        affine(joined, net.head, net.head_bias, final)
        affine(x[n], net.around, nothing, around)
        for c in range(3):
            out[n, c] = np.float64(final[c]) + np.float64(around[c])
        softmax_in_place(out[n])
