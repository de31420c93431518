"""What has to hold of raw option chains, posts and on-chain transfers, as expectations of Great Expectations."""

from typing import Any, Final

import polars as pl

from marketdata.settings import Settings
from marketdata.slow_data import HAPPENED, ONCHAIN, OPTIONS, SLOW_SCHEMAS, SOCIAL

MOST_IV: Final = 20.0
"""A volatility of 2,000 % a year is the most that a chain may quote: deep contracts on their last day come near it."""
LONGEST_TEXT: Final = 100_000


def slow_rules(kind: str, frame: pl.DataFrame, settings: Settings) -> tuple[list[Any], pl.DataFrame]:
    """Return the expectations of one session's raw rows of a kind, and the columns that they look at.

    An empty partition has to have the columns and nothing else: a day on which nothing was recorded is no corrupt one.
    """
    import great_expectations.expectations as gxe

    schema = SLOW_SCHEMAS[kind]
    expectations = [gxe.ExpectTableColumnsToMatchSet(column_set=list(schema), exact_match=True)]
    if not frame.height:
        return expectations, frame
    later, earlier = "ts_known", HAPPENED[kind]
    expectations += [
        gxe.ExpectColumnValuesToNotBeNull(column=later),
        gxe.ExpectColumnValuesToNotBeNull(column=earlier),
        gxe.ExpectColumnValuesToBeIncreasing(column=later),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A=later, column_B=earlier, or_equal=True),
        gxe.ExpectColumnDistinctValuesToBeInSet(column="symbol", value_set=_symbols(kind, settings)),
    ]
    expectations += {OPTIONS: _options, SOCIAL: _social, ONCHAIN: _onchain}[kind]()
    return expectations, frame


def _symbols(kind: str, settings: Settings) -> list[str]:
    """Return the symbols that rows may belong to; a post of nobody has an empty one."""
    symbols = [item.symbol for item in settings.instruments]
    return [*symbols, ""] if kind == SOCIAL else symbols


def _options() -> list[Any]:
    import great_expectations.expectations as gxe

    positive = [
        gxe.ExpectColumnMinToBeBetween(column=name, min_value=0, strict_min=True) for name in ("strike", "underlying")
    ]
    known = ("contract", "is_call", "strike", "expiry_ns", "underlying", "volume", "open_interest")
    return [
        *positive,
        *(gxe.ExpectColumnValuesToNotBeNull(column=name) for name in known),
        *(gxe.ExpectColumnMinToBeBetween(column=name, min_value=0) for name in ("volume", "open_interest")),
        gxe.ExpectColumnValuesToBeBetween(column="delta", min_value=-1, max_value=1),
        gxe.ExpectColumnValuesToBeBetween(column="iv", min_value=0, max_value=MOST_IV),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="expiry_ns", column_B="ts_snapshot", or_equal=True),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A="ask", column_B="bid", or_equal=True, ignore_row_if="either_value_is_missing"
        ),
    ]


def _social() -> list[Any]:
    import great_expectations.expectations as gxe

    return [
        gxe.ExpectColumnValuesToNotBeNull(column="post_id"),
        gxe.ExpectColumnValuesToNotBeNull(column="text"),
        gxe.ExpectColumnValueLengthsToBeBetween(column="text", min_value=0, max_value=LONGEST_TEXT),
        gxe.ExpectColumnMinToBeBetween(column="votes", min_value=0),
    ]


def _onchain() -> list[Any]:
    import great_expectations.expectations as gxe

    known = ("tx_id", "amount", "from_label", "to_label", "label_known_since")
    return [
        *(gxe.ExpectColumnValuesToNotBeNull(column=name) for name in known),
        gxe.ExpectColumnMinToBeBetween(column="amount", min_value=0, strict_min=True),
        gxe.ExpectColumnValuesToBeBetween(
            column="dormant_days", min_value=0
        ),  # null where nobody knows, also on a whole day
    ]
