"""Pages of studies that a person asks for: a screen of parameter sets, sensitivity surfaces, cross-validated paths."""

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from itertools import pairwise
from typing import Any

import msgspec

from backtests.report import charts, curves, numbers
from backtests.report.evidence_sections import surface_section
from backtests.report.html import Column, Group, Row, card, section, table, tile, tiles
from backtests.report.record import SurfaceTable

BEST_SETS = 20


def study_page(title: str, facts: str, body: str) -> str:
    """Return one self-contained page, light and dark."""
    style = files("backtests.report").joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>FlowSense · {escape(title)}</title><style>{style}</style></head><body><main>"
        '<header><div class="brand"><span class="logo" aria-hidden="true"></span>FlowSense</div>'
        f'<h1>{escape(title)}</h1><p class="facts">{escape(facts)}</p></header>{body}</main></body></html>\n'
    )


def screen_study_page(made: Mapping[str, Any]) -> str:
    """Return the page of a screen (``orchestration.screening.screen_model``)."""
    best, own = made["results"][made["best"]], made["results"][made["own"]]
    note = f"best of {made['sets']:,}; own {numbers.money(own['net_pnl'])}"
    head = tiles(
        [
            tile("best net P&amp;L", numbers.coloured_money(best["net_pnl"]), note),
            tile(
                "its Sharpe",
                numbers.decimal(made["sharpe"], 3, plus=True),
                f"± {numbers.decimal(made['sharpe_error'], 3)} per {made['sharpe_period_s']:g} s",
            ),
            tile(
                "deflated",
                numbers.probability(made["dsr"]),
                f"bar {numbers.decimal(made['best_worthless_sharpe'], 3)} if sets differ by luck alone; by their sampling "
                f"error {numbers.probability(made['dsr_sampling'])}",
            ),
            tile("trials", numbers.integer(made["trials"]), f"{made['trials_added']:,} added by this screen"),
            tile("PBO", numbers.probability(made["pbo"]["probability"]), escape(made["pbo"]["note"])),
        ]
    )
    varied = [name for name, values in made["axes"].items() if len(values) > 1]
    maps = "".join(_map(made, a, b) for a, b in pairwise(varied))
    ranked = sorted(made["results"], key=lambda row: -row["net_pnl"])
    shown = ("net_pnl", "round_trips", "held_s", "break_even_bps", "sharpe")
    names = [*made["axes"], *shown]
    rows = [
        Row([_value(name, row[name]) for name in names], "winner" if row is own else "") for row in ranked[:BEST_SETS]
    ]
    listed = table([Column(name.replace("_", " "), True) for name in names], [Group("", rows)], "plain")
    body = head + section("maps", "Mean net P&L over all other parameters", f'<div class="grid two">{maps}</div>')
    body += section(
        "best",
        f"The {len(rows)} best sets",
        listed,
        "The best of many is lucky as well as good: read the table with the probability of overfitting above.",
    )
    return study_page(f"Screen of {made['model']}", _facts(made), body + _bias(made))


def _facts(made: Mapping[str, Any]) -> str:
    rate = f"{made['row_sets_per_s'] / 1e6:,.0f} M rows × sets a second"
    return f"night {made['night']} · {made['rows']:,} test rows · {made['sets']:,} parameter sets · {rate}"


def _map(made: Mapping[str, Any], down: str, across: str) -> str:
    """Return the mean net profit by two parameters, over all others: a ridge is believed, a lone peak is not."""
    sums: dict[tuple[Any, Any], list[float]] = {}
    for row in made["results"]:
        sums.setdefault((row[down], row[across]), []).append(row["net_pnl"])
    rows, columns = sorted({k for k, _ in sums}), sorted({k for _, k in sums})
    cells: Sequence[Sequence[float | None]] = [
        [sum(sums[r, c]) / len(sums[r, c]) if (r, c) in sums else None for c in columns] for r in rows
    ]
    label = f"{down.replace('_', ' ')} by {across.replace('_', ' ')}"
    picture = charts.heatmap([f"{r:g}" for r in rows], [f"{c:g}" for c in columns], cells, label=label)
    return card(escape(label), picture, f"{escape(down)} down, {escape(across)} across")


def _bias(made: Mapping[str, Any]) -> str:
    bias = made["bias"]
    if not bias["rows"]:
        return ""
    names = ("rank", "screen net", "engine net", "screen trips", "engine trips", "screen's lead a trip", "parameters")
    rows = [
        Row(
            (
                numbers.integer(item["rank"]),
                numbers.coloured_money(item["screen_net"]),
                numbers.coloured_money(item["engine_net"]),
                numbers.integer(item["screen_trips"]),
                numbers.integer(item["engine_trips"]),
                numbers.decimal(item["bias_per_trip"], 4, plus=True),
                escape(", ".join(f"{k} {v:g}" for k, v in item["parameters"].items())),
            )
        )
        for item in bias["rows"]
    ]
    columns = [Column(name, name != "parameters") for name in names]
    lead = (
        f"The same sets through the whole engine. Mean lead of the screen {numbers.decimal(bias['mean_per_trip'], 4, plus=True)}"
        f" a round trip; rank correlation {numbers.decimal(bias['rank_correlation'], 3)}."
    )
    return section("bias", "The screen against the engine", table(columns, [Group("", rows)], "plain"), lead)


def _value(name: str, value: float | None) -> str:
    if name == "net_pnl":
        return numbers.coloured_money(value)
    if name == "round_trips" and value is not None:
        return numbers.integer(int(value))
    if name in ("held_s", "break_even_bps", "sharpe"):
        return numbers.decimal(value, 3)
    return numbers.ABSENT if value is None else f"{value:g}"


def surfaces_page(made: Mapping[str, Any]) -> str:
    """Return the page of sensitivity surfaces (``orchestration.studies.sensitivity_of``)."""
    found = msgspec.convert({k: v for k, v in made.items() if k != "night"}, SurfaceTable)
    facts = f"night {made['night']} · {len(found.points):,} runs of the engine"
    return study_page(f"Sensitivity of {found.model}", facts, surface_section(found))


def paths_page(made: Mapping[str, Any]) -> str:
    """Return the page of cross-validated paths (``orchestration.studies.cross_validated``)."""
    points = [(f"path {k + 1}", row["net_pnl"], None, None) for k, row in enumerate(made["paths"])]
    picture = curves.points_with_intervals(points, label="net profit of each path", width=1140, height=260)
    names = ("net_pnl", "sharpe", "max_drawdown", "round_trips", "mcc", "log_loss")
    rows = [
        Row([f"{k + 1}", *(_value("net_pnl" if n == "net_pnl" else n, row[n]) for n in names)])
        for k, row in enumerate(made["paths"])
    ]
    listed = table([Column(n.replace("_", " "), n != "path") for n in ("path", *names)], [Group("", rows)], "plain")
    spread = made["spread"]
    head = tiles(
        [
            tile("paths", numbers.integer(len(made["paths"])), f"{made['splits']} fits of {made['groups']} groups"),
            tile(
                "net P&amp;L, median",
                numbers.coloured_money(spread["net_pnl"]["median"]),
                f"{numbers.money(spread['net_pnl']['low'])} … {numbers.money(spread['net_pnl']['high'])}",
            ),
            tile(
                "Sharpe, median",
                numbers.decimal(spread["sharpe"]["median"], 3, plus=True),
                f"{numbers.decimal(spread['sharpe']['low'], 3)} … {numbers.decimal(spread['sharpe']['high'], 3)}",
            ),
            tile("rows purged", numbers.share(made["purged_share"]), "of the training rows of a split"),
        ]
    )
    lead = (
        "Every path covers all rows once, each part forecast by a model that was fitted without it and without what "
        "overlaps it in time (R13). Training sees what came after a test part as well: this is a distribution of "
        "outcomes, not what could have been traded."
    )
    body = head + section("paths", "Paths", card("Net P&L by path", picture) + listed, lead)
    facts = f"night {made['night']} · {made['rows']:,} rows · {made['test_groups']} of {made['groups']} groups tested at a time"
    return study_page(f"Cross-validated paths of {made['model']}", facts, body)
