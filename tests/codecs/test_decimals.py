"""Digits to integers: exact, the same in Python and in compiled code, refused between two steps."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.codecs.decimals import MAX_DIGITS, OffGrid, Step, inferred_instrument, places_of, step_of, to_units
from marketdata.codecs.json_scan import ODD, padded, scan_decimal, scan_int, scan_string

STEPS = st.sampled_from([0.01, 0.1, 1.0, 10.0, 0.25, 0.5, 2.5, 1e-8, 0.00005, 1000.0, 0.005])
NUMBERS = st.from_regex(r"(0|[1-9][0-9]{0,11})(\.[0-9]{1,10})?", fullmatch=True)


def scanned(text: str, step: Step) -> int:
    data = padded(np.frombuffer(f'"{text}",'.encode(), np.uint8))
    value, behind = scan_decimal(data, 0, *step)
    assert value == ODD or behind == len(text) + 2
    return value


@given(text=NUMBERS, size=STEPS)
def test_units_are_the_exact_quotient_or_refused(text: str, size: float) -> None:
    step = step_of(size)
    exact = Decimal(text) / Decimal(str(size))
    if exact != exact.to_integral_value():
        with pytest.raises(OffGrid, match="is not a multiple of"):
            to_units(text, step)
        assert scanned(text, step) == ODD
        return
    if exact * step.units >= 10**MAX_DIGITS:
        with pytest.raises(OffGrid, match="digits"):
            to_units(text, step)
        assert scanned(text, step) == ODD
        return
    assert to_units(text, step) == exact
    assert scanned(text, step) in (exact, ODD)


@given(text=st.text(st.sampled_from('0123456789.eE+-" ,_١'), max_size=24), size=STEPS)
def test_whatever_the_scanner_accepts_the_parser_reads_alike(text: str, size: float) -> None:
    step = step_of(size)
    data = padded(np.frombuffer(f'"{text}",'.encode(), np.uint8))
    value, behind = scan_decimal(data, 0, *step)
    if value == ODD:
        return
    assert to_units(data[1 : behind - 1].tobytes().decode(), step) == value


@pytest.mark.parametrize(
    "text", ["", ".", "1.", ".5", "-1", "+1", "1_0", " 1", "1 ", "nan", "inf", "0x1", "1e", "١", "1e99"]
)
def test_what_is_no_plain_number_is_refused(text: str) -> None:
    with pytest.raises(OffGrid):
        to_units(text, step_of(0.01))
    with pytest.raises(OffGrid):
        places_of(text)


def test_exponents_as_json_writes_them_are_read() -> None:
    assert to_units("1.5e-05", step_of(1e-8)) == 1_500
    assert to_units("5E-7", step_of(1e-8)) == 50
    assert to_units("1e3", step_of(10.0)) == 100
    assert places_of("1.50e-05") == 6


def test_a_step_is_read_as_the_decimal_it_stands_for() -> None:
    assert step_of(0.1) == (1, 1)
    assert step_of(0.25) == (25, 2)
    assert step_of(10.0) == (10, 0)
    assert str(step_of(1e-8)) == "0.00000001"
    for wrong in (0.0, -1.0, float("nan"), 1e-19, 1e19):
        with pytest.raises(ValueError, match="step"):
            step_of(wrong)


def test_a_unit_of_an_inferred_instrument_is_worth_its_nanos() -> None:
    made = inferred_instrument("XBT/USD", 4, "kraken", 0.1, 0.001)
    assert (made.symbol, made.unit_nanos, made.instrument_id) == ("XBT-USD", 100_000, 4)
    assert inferred_instrument("A", 0, "v", 1e-8, 1e-8).unit_nanos == 1


def test_integers_and_strings_are_scanned_or_left_aside() -> None:
    def at(text: str) -> np.ndarray:
        return padded(np.frombuffer(text.encode(), np.uint8))

    assert scan_int(at("120,"), 0) == (120, 3)
    assert scan_int(at("0}"), 0) == (0, 1)
    for text in ("007", "-1", "x", "1234567890123456789"):
        assert scan_int(at(text), 0)[0] == ODD
    assert scan_string(at('"abc"'), 0) == 5
    for text in ('"a\\"b"', '"é"', "abc", '"open'):
        assert scan_string(at(text), 0) == ODD
