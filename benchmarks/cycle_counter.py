"""The processor's cycle counter, for timing single messages inside a kernel (x86-64 only)."""

import platform
import time
from typing import Any, Final

from llvmlite import ir  # type: ignore[import-untyped]  # ships no type information
from numba import njit, types
from numba.extending import intrinsic

IS_AVAILABLE: Final = platform.machine() in ("x86_64", "AMD64")


@intrinsic
def cycles(typing_context: Any) -> Any:
    """Return the counter once everything before it has been executed (``rdtscp``)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pair = ir.LiteralStructType([ir.IntType(64), ir.IntType(32)])
        counter = builder.module.declare_intrinsic("llvm.x86.rdtscp", fnty=ir.FunctionType(pair, []))
        return builder.extract_value(builder.call(counter, []), 0)

    return types.int64(), codegen


@njit(cache=True)
def read_cycles() -> int:
    """Return the counter, from Python."""
    return cycles()


def cycles_per_ns(wait_s: float = 0.05) -> float:
    """Return the counter's rate, measured against the monotonic clock."""
    read_cycles()
    start_ns, start = time.perf_counter_ns(), read_cycles()
    while time.perf_counter_ns() - start_ns < wait_s * 1e9:
        pass
    end_ns, end = time.perf_counter_ns(), read_cycles()
    return float((end - start) / (end_ns - start_ns))
