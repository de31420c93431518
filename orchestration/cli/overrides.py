"""Settings changed for one command: ``--with KEY=VALUE``, validated like the file itself."""

import tomllib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from marketdata.settings import Settings, SettingsError, validate_settings

TRADING: Final = ("venues", "risk", "strategy", "latency", "pauses", "sizing", "queue_model")
"""What may change while the forecasts stay as they are; labels, features and training made them."""

With = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="KEY=VALUE",
        help="A setting for this command alone, as settings.toml has it, for example venues.SIM.fees.per_trade=0.5, "
        "venues.SIM.impact='{coefficient_bps = 100, daily_lots = 20000}' or risk.max_order_lots=2; may be given often. "
        "Of venues, risk, strategy, latency, pauses, sizing and queue_model.",
    ),
]


def overridden(settings: Settings, changes: Sequence[str] | None) -> Settings:
    """Return the settings with changes ``key=value``, the key dotted, the value TOML or plain text.

    Raises
    ------
    SettingsError
        If a change is no ``key=value``, is not one of the trading sections, or the settings refuse it; the message names it.
    """
    for text in changes or ():
        key, equals, value = text.partition("=")
        names = [name.strip() for name in key.split(".")]
        if not equals or not all(names):
            raise SettingsError(f"--with {text!r} is not KEY=VALUE, as in risk.max_order_lots=2")
        if names[0] not in TRADING:
            raise SettingsError(
                f"--with {text}: only {', '.join(TRADING)} may be changed; what was learned stays as it is"
            )
        held = settings.model_dump(mode="json", exclude_none=True)
        changed = _merged(held, _nested(names, _value(value)))
        settings = validate_settings(changed, f"--with {text}")
    return settings


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def _nested(names: Sequence[str], value: object) -> dict[str, Any]:
    inner = value
    for name in reversed(names):
        inner = {name: inner}
    assert isinstance(inner, dict)
    return inner


def _merged(held: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return tables merged into each other; anything else is replaced."""
    out = dict(held)
    for name, value in new.items():
        old = out.get(name)
        out[name] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return out
