"""What can be wrong with an ITCH message, by code."""

from typing import Final

GOOD: Final = 0
UNKNOWN_TYPE: Final = 1
WRONG_LENGTH: Final = 2
UNKNOWN_ORDER: Final = 3
LIVE_ORDER: Final = 4
TOO_MUCH: Final = 5
OFF_PRICE: Final = 6
OFF_SIZE: Final = 7
BAD_SIDE: Final = 8
BAD_TIME: Final = 9
BAD_STATE: Final = 10
PROBLEMS: Final = {
    UNKNOWN_TYPE: "is no message type of ITCH 5.0",
    WRONG_LENGTH: "the length is not that of the message type",
    UNKNOWN_ORDER: "the order reference is that of no live order",
    LIVE_ORDER: "an order is added under the reference of a live one",
    TOO_MUCH: "takes more shares than the order has",
    OFF_PRICE: "the price is off the instrument's grid",
    OFF_SIZE: "the size is not positive, or off the instrument's lot grid",
    BAD_SIDE: "the side is neither B nor S",
    BAD_TIME: "the time is beyond the day",
    BAD_STATE: "the trading state is unknown",
}
