"""The catalogue of raw features as a page, generated so that it stays true."""

from itertools import groupby
from typing import Final

from features.catalog import catalogue, cross_catalogue
from features.entry import FeatureEntry
from features.fitted.catalog import fitted_catalogue
from features.pipeline import feature_spec
from marketdata.clock import NS_PER_S
from marketdata.presets import preset

FITTED_FAMILY: Final = "fitted"

HEAD: Final = """# The features

Written by `flowsense features page docs/features.md`; do not edit it by hand. `flowsense features list` prints the same with
what each column costs (`--json`: one object a line; `--measure`: on your machine), `flowsense features lint` checks the laws on
it, and `flowsense features lint my_feature.py` checks a feature of your own. `[sampling] own = ["my_feature.py"]` puts
a compiled one that says its `memory_ns` into the rows, at night and live.

{columns} raw columns of {formulas} formulas in {families} families, at the default windows and decays. One kernel fills all of
them in one pass, and steps one event live. `core` is always computed; `[sampling] families = ["core", "flow"]` adds families,
`["all"]` adds all; the choice is part of the feature fingerprint. What is not known yet is NaN, and so is every column that
needs a book on an instrument without one. Below them: columns made of several instruments' rows (`cross` always, `lead_lag` where
the families name it or `all`), and the fitted ones, made in each training fold with frozen parameters and never stored.

*Warm-up*: how long it stays NaN at least after the start or a gap. *Memory*: how far back a value reaches; purging goes by it.
*Scales*: the power of the prices (tick unchanged) and of the sizes with which values grow; — where by no power.
*Mirror*: what bids and asks exchanged do: odd flips the sign, even changes nothing. *Joins*: what a fold that joined late has
once the memory has passed: exact, decays (up to a weight of a thousandth), phase (its volume buckets began elsewhere).
"""


def _seconds(ns: int) -> str:
    return f"{ns / NS_PER_S:.4g}" if ns else "0"


def _line(entries: list[FeatureEntry]) -> str:
    """Return the table row of one formula: its columns, and the longest warm-up and memory among them."""
    first = entries[0]
    names = ", ".join(f"`{entry.name}`" for entry in (entries if len(entries) <= 4 else [entries[0], entries[-1]]))
    if len(entries) > 4:
        names = names.replace(", ", f" … ({len(entries)} columns) … ")
    powers = " ".join("—" if power is None else str(power) for power in (first.price_power, first.lots_power))
    formula = first.formula.replace("|", "\\|")
    warm, memory = (_seconds(max(getattr(entry, name) for entry in entries)) for name in ("warmup_ns", "memory_ns"))
    mirror = first.mirror if first.mirror in ("odd", "even") else "swap"
    laws = (powers, f"{mirror}, {first.joins}") if first.family != FITTED_FAMILY else ("as fitted", "as fitted")
    cells = (names, first.unit, formula, first.reference, f"{warm} / {memory}", *laws)
    return "| " + " | ".join(cells) + " |"


def catalogue_page() -> str:
    """Return the page: a table a family, a row a formula, ended by a newline."""
    settings = preset("simulated", None)
    sampling = settings.sampling.model_copy(update={"families": ("all",)})
    settings = settings.model_copy(update={"sampling": sampling})
    raw = catalogue(feature_spec(settings))
    families = list(dict.fromkeys(entry.family for entry in raw))
    formulas = len({entry.key for entry in raw})
    parts = [HEAD.format(columns=len(raw), formulas=formulas, families=len(families))]
    for family, members in groupby(
        (*raw, *cross_catalogue(sampling), *fitted_catalogue(settings)), key=lambda entry: entry.family
    ):
        found = list(members)
        parts.append(f"\n## {family}\n")
        parts.append(
            "| columns | unit | formula of the first | reference | warm-up / memory, s | scales | mirror, joins |"
        )
        parts.append("|---|---|---|---|---|---|---|")
        if family == FITTED_FAMILY:
            parts += [_line([entry]) for entry in found]
            continue
        keys = list(dict.fromkeys(entry.key for entry in found))
        parts += [_line([entry for entry in found if entry.key == key]) for key in keys]
    return "\n".join(parts) + "\n"
