"""Commands about the raw features: ``features list``, ``features lint``, ``features page`` and ``features snapshots``."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marketdata.clock import NS_PER_S
from marketdata.settings import Settings, SettingsError
from orchestration.cli.console import out
from orchestration.cli.evidence import features_app
from orchestration.cli.roots import chosen

if TYPE_CHECKING:
    from features.entry import FeatureEntry
    from features.pipeline import FeaturePipeline
    from marketdata.events import EventArray

LINT_EVENTS = 20_000
OWN_EVENTS = 2_000


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``flowsense features``."""
    features_app.command("list")(listing)
    features_app.command("lint")(lint)
    features_app.command("page")(page)
    features_app.command("snapshots")(snapshots)


def _settings(context: typer.Context) -> Settings:
    """Return the settings of the chosen root, those of the simulated market where it is not set up."""
    from marketdata.presets import preset

    root = chosen(context).data_root()
    return root.settings() if root.settings_file.exists() else preset("simulated", None)


def _every_family(settings: Settings) -> Settings:
    return settings.model_copy(update={"sampling": settings.sampling.model_copy(update={"families": ("all",)})})


def _market(events: int) -> "tuple[FeaturePipeline, EventArray]":
    """Return the pipeline of every family and the first events of a simulated session, seeded: the same on every machine."""
    from features.pipeline import session_pipeline
    from marketdata.sources import build_source, preset

    settings = _every_family(preset("simulated", None, sessions=1))
    simulator = settings.simulator.model_copy(update={"events_per_session": events})
    settings = settings.model_copy(update={"simulator": simulator})
    source = build_source(settings)
    session, item = source.sessions()[0], settings.instruments[0]
    found = source.events(source.raw_ticks(session.date, item.symbol), session.date, item.symbol)
    return session_pipeline(settings, item, session), found[:events]


def listing(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    used: Annotated[bool, typer.Option("--used", help="Only the families that this root computes.")] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Time everything on this machine, else print the costs that came along.")
    ] = False,
) -> None:
    """Print the catalogue: name, family, unit, formula, reference, warm-up, memory, laws and measured cost of every column.

    Raw columns, those made of several instruments' rows, slow signals, and the fitted ones, Hawkes intensities and regime
    probabilities among them.
    """
    from features.catalog import dataset_catalogue
    from features.costs import measure_costs, stored_costs
    from features.fitted.catalog import fitted_catalogue

    settings = _settings(context)
    settings = settings if used else _every_family(settings)
    entries = (*dataset_catalogue(settings), *fitted_catalogue(settings))
    measured = measure_costs(*_market(LINT_EVENTS * 2), _small_market(LINT_EVENTS)) if measure else stored_costs()
    costs = measured.column_costs(entries)
    for entry in entries:
        cost = costs[entry.name]
        if as_json:
            out.print(json.dumps({**asdict(entry), "cost_ns_per_row": cost}), markup=False)
        else:
            timed = "" if cost is None else f"{cost:.0f} ns"
            warm = f"{entry.warmup_ns / NS_PER_S:g} s"
            out.print(
                f"{entry.name:<28} {entry.family:<10} {entry.unit:<7} {warm:>7} {timed:>8}  {entry.formula}"
                f"{f' [{entry.reference}]' if entry.reference else ''}",
                markup=False,
                soft_wrap=True,
            )
    if not as_json:
        families = {family: [entry for entry in entries if entry.family == family] for family in _families(entries)}
        formulas = len({(entry.family, entry.key) for entry in entries})
        out.print(f"{len(entries)} columns of {formulas} formulas in {len(families)} families", markup=False)
        out.print(
            f"Columns: name, family, unit, warm-up, cost a row, formula, reference. {measured.machine}", markup=False
        )
        for family, members in families.items():
            known = [costs[entry.name] or 0.0 for entry in members]
            timed = f"{sum(known):8.0f} ns a row" if any(known) else "made once a snapshot"
            out.print(f"{family:<12} {len(members):3} columns {timed}", markup=False)


def _families(entries: "Sequence[FeatureEntry]") -> list[str]:
    return list(dict.fromkeys(entry.family for entry in entries))


def _small_market(events: int) -> Settings:
    """Return two instruments of the simulated market with every family, of about so many events each."""
    from marketdata.presets import preset

    settings = _every_family(preset("simulated", None, sessions=1))
    update = {
        "instruments": settings.instruments[:2],
        "simulator": settings.simulator.model_copy(update={"events_per_session": events}),
        "training": settings.training.model_copy(update={"min_instruments": 1}),
    }
    return settings.model_copy(update=update)


def lint(
    context: typer.Context,
    path: Annotated[
        Path | None, typer.Argument(help="File that gives a feature of your own as FEATURE; default: the catalogue.")
    ] = None,
) -> None:
    """Check that features are causal, independent of how the stream is cut, and finite; exit code 1 names the first offence."""
    from features.catalog import catalogue
    from features.own import OwnFeatureError, check_catalogue, check_own, load_own

    if path is None:
        pipeline, events = _market(LINT_EVENTS)
        findings = check_catalogue(pipeline, catalogue(pipeline.spec), events)
        what = f"{len(pipeline.columns)} columns over {len(events)} events"
    else:
        try:
            feature = load_own(path)
        except OwnFeatureError as error:
            raise SettingsError(str(error)) from error
        events = _market(OWN_EVENTS)[1]
        findings = check_own(feature, events)
        what = f"{feature.name} over {len(events)} events"
    for finding in findings:
        out.print(f"{finding.feature}: {finding.law}: first at row {finding.row}: {finding.text}", markup=False)
    if findings:
        raise typer.Exit(1)
    out.print(f"{what}: no look-ahead, the same bits however cut, finite", markup=False)


def page(
    path: Annotated[Path | None, typer.Argument(help="Where to write it; default: print it.")] = None,
) -> None:
    """Write the catalogue as a page (``docs/features.md``)."""
    from features.catalog_page import catalogue_page

    text = catalogue_page()
    if path is None:
        out.print(text, markup=False, soft_wrap=True)
        return
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def snapshots(
    book: Annotated[
        Path, typer.Argument(help="LOBSTER order book file, ten levels or fewer: SYMBOL_…_orderbook_L.csv[.gz].")
    ],
    to: Annotated[Path, typer.Argument(help="Parquet file to write.")],
    tick: Annotated[float, typer.Option(help="Price step in dollars.")] = 0.01,
) -> None:
    """Compute the seventeen snapshot features of a recorded order book file."""
    import polars as pl

    from features.snapshots import SNAPSHOT_COLUMNS, book_features, read_lobster_book

    values = book_features(read_lobster_book(book), tick)
    temporary = to.with_suffix(".tmp")
    pl.DataFrame(values, schema=list(SNAPSHOT_COLUMNS)).write_parquet(temporary)
    temporary.replace(to)
    out.print(f"{len(values)} rows of {len(SNAPSHOT_COLUMNS)} features to {to}", markup=False)
