"""What numba offers no function for: two bit instructions, prefetching, borrowed arrays, kernels that only kernels call."""

from typing import Any, Final

from llvmlite import ir  # type: ignore[import-untyped]  # ships no type information
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

inlined: Final = njit(cache=True, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Decorator of a kernel that only other kernels call: compiled into its callers, without an entry from Python (which would take
longer to compile than the kernel itself)."""

inner: Final = njit(cache=True, _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Decorator of a kernel that only other kernels call, too large or called too often to be compiled into each of them.

It counts no references: whoever calls it holds the arrays, and it makes none (numba refuses to compile one that does, slice
assignments among them). Each count would be a call that the compiler cannot see through, around every row of every array."""

inner_inlined: Final = njit(cache=True, _nrt=False, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Decorator of an :data:`inner` kernel that is compiled into its callers all the same: an array is seven words and a state dozens
of arrays, and every call writes them all to the stack and reads them back."""


@intrinsic
def lowest_bit(typing_context: Any, word: Any) -> Any:
    """Return the position (0 to 63) of the lowest set bit of a non-zero int64; undefined for 0."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), codegen


@intrinsic
def highest_bit(typing_context: Any, word: Any) -> Any:
    """Return the position (0 to 63) of the highest set bit of a non-zero int64; undefined for 0."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        leading = builder.ctlz(args[0], ir.Constant(ir.IntType(1), 1))
        return builder.sub(ir.Constant(ir.IntType(64), 63), leading)

    return types.int64(types.int64), codegen


@intrinsic
def borrowed(typing_context: Any, array: Any) -> Any:
    """Return the same array without its owner, so that no kernel it is handed to counts references.

    The caller must hold the owner for as long as the result is in use, and never return the result.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        struct = context.make_array(signature.args[0])(context, builder, args[0])
        for field in ("meminfo", "parent"):
            setattr(struct, field, cgutils.get_null_value(getattr(struct, field).type))
        return struct._getvalue()

    return array(array), codegen


def _fetch(builder: Any, context: Any, array_type: Any, array: Any, byte: Any, for_write: int) -> Any:
    """Emit the prefetch of a cache line; it never faults, so the address may lie beyond the array."""
    data = context.make_array(array_type)(context, builder, array).data
    pointer = builder.gep(builder.bitcast(data, ir.IntType(8).as_pointer()), [byte])
    number = ir.IntType(32)
    form = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
    function = cgutils.get_or_insert_function(builder.module, form, "llvm.prefetch.p0i8")
    builder.call(function, [pointer, *(ir.Constant(number, k) for k in (for_write, 3, 1))])
    return context.get_dummy_value()


@intrinsic
def prefetch(typing_context: Any, array: Any, byte: Any) -> Any:
    """Ask for the cache line at a byte offset from an array's start, to be read soon; changes nothing but time."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _fetch(builder, context, signature.args[0], args[0], args[1], 0)

    return types.void(array, types.int64), codegen


@intrinsic
def prefetch_to_write(typing_context: Any, array: Any, byte: Any) -> Any:
    """Ask for the cache line at a byte offset from an array's start, to be written soon; changes nothing but time."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _fetch(builder, context, signature.args[0], args[0], args[1], 1)

    return types.void(array, types.int64), codegen
