"""Pixels for the page: a PNG without a library, transparent where there is nothing, so that it suits light and dark."""

import base64
import struct
import zlib
from typing import Final

import numpy as np
import numpy.typing as npt

BID: Final = (31, 119, 180)
ASK: Final = (209, 96, 61)
"""Colours of the two sides, those of gains and losses elsewhere on the page."""
STRONGEST: Final = 0.995
"""Share of the filled cells below the strongest colour."""


def depth_png(lots: npt.NDArray[np.float64]) -> str:
    """Return resting lots as a base64 PNG: one pixel a cell, its opacity the log of the lots.

    Parameters
    ----------
    lots : float64 array, shape (2, P, T)
        Bids and asks by price row, from the highest down, and moment.
    """
    filled = lots[lots > 0]
    top = float(np.quantile(filled, STRONGEST)) if len(filled) else 1.0
    size = np.log1p(lots) / np.log1p(max(top, 1.0))
    side = (lots[1] > lots[0]).astype(np.int64)
    opacity = np.clip(np.maximum(size[0], size[1]), 0.0, 1.0)
    pixels = np.empty((*opacity.shape, 4), np.uint8)
    pixels[..., :3] = np.array([BID, ASK], np.uint8)[side]
    pixels[..., 3] = np.round(255 * opacity**0.8 * 0.95).astype(np.uint8)
    return base64.b64encode(png(pixels)).decode("ascii")


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return an RGBA picture, shape (height, width, 4), as a PNG file (ISO/IEC 15948).

    Raises
    ------
    ValueError
        If the array is not of that form.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 4 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise ValueError(f"pixels must be uint8 of shape (height, width, 4), not {pixels.dtype} {pixels.shape}")
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    body = zlib.compress(rows.tobytes(), 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
