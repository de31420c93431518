"""Legs of an arbitrage or a routed order are the same thing at different venues; anything else is said in one line."""

import pytest

from marketdata.presets import preset
from marketdata.settings import SettingsError
from marketdata.venue_settings import VenueSettings
from orchestration.cli.arbitrage import legs_of


def test_two_instruments_of_one_venue_are_no_legs() -> None:
    settings = preset("simulated", None, sessions=1)
    first, second = (item.symbol for item in settings.instruments[:2])
    with pytest.raises(SettingsError, match=f"{first} and {second} are both of"):
        legs_of(settings, [first, second])
    with pytest.raises(SettingsError, match="one leg"):
        legs_of(settings, [first])
    with pytest.raises(SettingsError, match="both of"):
        legs_of(settings, [first, first])


def test_legs_come_at_their_own_venues_fees() -> None:
    base = preset("simulated", None, sessions=1)
    there = base.instruments[1].model_copy(update={"venue": "ELSEWHERE"})
    fees = {"tiers": [{"from_volume": 0.0, "maker_ppm": 1, "taker_ppm": 77}]}
    settings = base.model_copy(
        update={
            "instruments": (base.instruments[0], there),
            "venues": {"ELSEWHERE": VenueSettings.model_validate({"fees": fees})},
        }
    )
    legs = legs_of(settings, [base.instruments[0].symbol, there.symbol])
    assert [leg.fees.taker_ppm for leg in legs] == [base.instruments[0].fees.taker_ppm, 77]
