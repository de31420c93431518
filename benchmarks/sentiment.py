"""A text encoder of FinBERT's size (12 layers, 768 wide, random weights) in batches on the CPU: torch and ONNX Runtime.

Both in texts a processor second, all threads together: what one core does, whatever else the machine does.
"""

import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

BATCH: Final = 16
TOKENS: Final = 64
"""A long sentence of financial news."""
ROUNDS: Final = 3
VOCABULARY: Final = 30_522


def measure_sentiment() -> dict[str, Any]:
    """Score texts in batches with torch; the peer is the same weights in ONNX Runtime, where it is installed."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        model = BertForSequenceClassification(BertConfig(vocab_size=VOCABULARY, num_labels=3)).eval()
        tokens = torch.randint(0, VOCABULARY, (BATCH, TOKENS))
        mask = torch.ones_like(tokens)
        model(input_ids=tokens, attention_mask=mask)
        times = []
        for _ in range(ROUNDS):
            start = time.process_time()
            ours = model(input_ids=tokens, attention_mask=mask).logits
            times.append(time.process_time() - start)
        assert ours.shape == (BATCH, 3)
        row: dict[str, Any] = {"n": BATCH * ROUNDS, "unit": "text", "per_s": BATCH / min(times)}
        if importlib.util.find_spec("onnxruntime") is None or importlib.util.find_spec("onnxscript") is None:
            return row
        return {**row, "peer": "onnxruntime", "peer_per_s": _onnx_runtime(model, tokens, mask, ours.numpy())}


def _onnx_runtime(model: Any, tokens: Any, mask: Any, expected: Any) -> float:
    """Return texts a second of the exported model; its scores must be torch's within 1e-3."""
    import onnxruntime
    import torch

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "encoder.onnx"
        torch.onnx.export(
            model,
            (),
            path,
            kwargs={"input_ids": tokens, "attention_mask": mask},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        given = {"input_ids": tokens.numpy(), "attention_mask": mask.numpy()}
        named = {each.name: given[each.name] for each in session.get_inputs()}
        (found,) = session.run(None, named)[:1]
        assert np.allclose(found, expected, atol=1e-3), np.abs(found - expected).max()
        times = []
        for _ in range(ROUNDS):
            start = time.process_time()
            session.run(None, named)
            times.append(time.process_time() - start)
    return BATCH / min(times)


BENCHMARKS: Final[dict[str, Callable[[], dict[str, Any]]]] = {"sentiment": measure_sentiment}
