"""Numbers come out exact or not at all; the order table is a dictionary; symbols are found by their bytes."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.codecs.decimals import MAX_DIGITS, OffGrid, step_of, to_units
from marketdata.codecs.exact import (
    EXACT,
    MAX_INT,
    NOT_A_NUMBER,
    OFF_GRID,
    TOO_LARGE,
    decimal_to_units,
    grid_of,
    integer_to_units,
    scaled_to_units,
)  # fmt: skip
from marketdata.codecs.order_table import (
    drop_order,
    empty_table,
    find_order,
    forget_orders,
    grown,
    has_room,
    put_order,
)  # fmt: skip
from marketdata.codecs.symbol_table import find_symbol, symbol_table

STEPS = [1.0, 0.01, 0.001, 1e-8, 0.25, 0.5, 0.05, 2.5, 10.0, 1000.0, 0.0001, 0.3]


def expected(value: Fraction, step: float) -> tuple[int, int] | None:
    """Units and outcome; None where a result beyond 63 bits may be called too large or off the grid."""
    units = value / Fraction(repr(step))
    if abs(value) > 10**12 or abs(units) > MAX_INT // 10**6:
        return None
    return (int(units), EXACT) if units.denominator == 1 else (0, OFF_GRID)


def text_units(text: str, step: float) -> tuple[int, int]:
    data = np.frombuffer(b"<" + text.encode() + b">", np.uint8)
    return decimal_to_units(data, 1, len(data) - 1, *grid_of(step))


@settings(max_examples=400, deadline=None)
@given(
    step=st.sampled_from(STEPS),
    sign=st.sampled_from(["", "-", "+"]),
    whole=st.integers(0, 10**9),
    fraction=st.sampled_from(
        ["", ".", ".5", ".50", ".25", ".005", ".0500", ".10203", ".00000001", ".000000010", ".3", ".123456789"]
    ),
    exponent=st.sampled_from(["", "e0", "e-05", "E+2", "e-8"]),
)
def test_a_decimal_text_is_exact_or_off_the_grid(
    step: float, sign: str, whole: int, fraction: str, exponent: str
) -> None:
    text = f"{sign}{whole}{fraction}{exponent}"
    mantissa, _, power = text.lower().partition("e")
    value = Fraction(mantissa.rstrip(".")) * Fraction(10) ** int(power or 0)
    wanted = expected(value, step)
    if wanted is not None:
        assert text_units(text, step) == wanted


@pytest.mark.parametrize(
    "text", ["", "-", ".", "1.2.3", "1,5", "0x1", "1e", "1e+", "1e1234", "nan", " 1", "1 ", "--1", "e5"]
)
def test_what_is_no_number_is_said_to_be_none(text: str) -> None:
    assert text_units(text, 0.01) == (0, NOT_A_NUMBER)


def test_too_large_is_refused_and_never_wraps() -> None:
    assert text_units("9" * 30, 1.0) == (0, TOO_LARGE)
    assert text_units("92233720368547758", 0.01)[1] == EXACT
    assert text_units("92233720368547759", 0.01) == (0, TOO_LARGE)
    assert text_units("1e30", 1.0) == (0, TOO_LARGE)
    assert text_units("0e999", 1.0) == (0, EXACT)
    with pytest.raises(ValueError, match="must be a positive number, not 0"):
        grid_of(0.0)
    with pytest.raises(ValueError, match="at most 18 digits"):
        grid_of(1e-19)
    with pytest.raises(ValueError, match=r"at most 18 digits, not 1e\+17 by 10000"):
        grid_of(1e17, 10_000)


@settings(max_examples=300, deadline=None)
@given(
    step=st.sampled_from(STEPS), text=st.from_regex(r"(0|[1-9][0-9]{0,9})(\.[0-9]{1,10})?(e-?[0-9])?", fullmatch=True)
)
def test_columns_and_single_numbers_are_read_alike(step: float, text: str) -> None:
    units, outcome = text_units(text, step)
    try:
        wanted = to_units(text, step_of(step))
    except OffGrid:
        assert outcome in (OFF_GRID, TOO_LARGE) or units * step_of(step).units >= 10**MAX_DIGITS
        return
    assert (units, outcome) == (wanted, EXACT)


@settings(max_examples=300, deadline=None)
@given(
    step=st.sampled_from(STEPS),
    value=st.integers(-(10**12), 10**12),
    power=st.integers(0, 9),
    scale=st.sampled_from([1, 10_000]),
)
def test_a_scaled_integer_is_exact_or_off_the_grid(step: float, value: int, power: int, scale: int) -> None:
    num, den, digits = grid_of(step, scale)
    units = Fraction(value, 10**power) / (Fraction(repr(step)) * scale)
    if abs(units) < MAX_INT // 10**6:
        wanted = (int(units), EXACT) if units.denominator == 1 else (0, OFF_GRID)
        assert integer_to_units(value, power, num, den, digits) == wanted
        assert scaled_to_units(value, power, num, den) == wanted


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_order_table_is_a_dictionary(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table, truth = empty_table(16), {}
    for _ in range(300):
        order, slot = int(rng.integers(0, 60)) - 5, int(rng.integers(0, 3))
        place = find_order(table, order, slot)
        assert (place >= 0) == ((order, slot) in truth)
        if place >= 0:
            assert table.value[place].tolist() == truth[order, slot]
            drop_order(table, place)
            del truth[order, slot]
        elif rng.random() < 0.02:
            forget_orders(table, slot)
            truth = {key: value for key, value in truth.items() if key[1] != slot}
        else:
            if not has_room(table):
                table = grown(table)
            price, lots, side = (int(v) for v in rng.integers(1, 99, 3))
            put_order(table, order, slot, price, lots, side)
            truth[order, slot] = [price, lots, side, lots]
        assert int(table.live[0]) == len(truth)
    for (order, slot), value in truth.items():
        assert table.value[find_order(table, order, slot)].tolist() == value


def test_symbols_are_found_by_their_bytes_and_no_others() -> None:
    names = [f"S{k}" for k in range(300)] + ["EUR/USD", "ÄÖ"]
    table = symbol_table(names)
    for slot, name in enumerate(names):
        data = np.frombuffer(b"=" + name.encode() + b"\x01", np.uint8)
        assert find_symbol(table.text, table.start, table.place, data, 1, len(data) - 1) == slot
    data = np.frombuffer(b"S300EUR/US", np.uint8)
    assert find_symbol(table.text, table.start, table.place, data, 0, 4) == -1
    assert find_symbol(table.text, table.start, table.place, data, 4, 10) == -1
