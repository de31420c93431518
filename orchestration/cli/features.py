"""Commands about the raw features: ``features list``, ``features lint``, ``features page`` and ``features snapshots``."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marketdata.settings import Settings, SettingsError
from orchestration.cli.console import out
from orchestration.cli.evidence import features_app
from orchestration.cli.roots import chosen

if TYPE_CHECKING:
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
        bool, typer.Option("--measure", help="Time the kernel with and without each family on a simulated session.")
    ] = False,
) -> None:
    """Print the catalogue of raw features: name, family, unit, formula, reference, warm-up, memory, laws, measured cost."""
    from features.catalog import catalogue
    from features.costs import family_costs
    from features.pipeline import feature_spec

    settings = _settings(context)
    entries = catalogue(feature_spec(settings if used else _every_family(settings)))
    costs = family_costs(*_market(LINT_EVENTS * 5)) if measure else {}
    columns = {family: sum(entry.family == family for entry in entries) for family in {e.family for e in entries}}
    for entry in entries:
        cost = costs[entry.family] / columns[entry.family] if costs else None
        if as_json:
            out.print(json.dumps({**asdict(entry), "cost_ns_per_event": cost}), markup=False)
        else:
            timed = "" if cost is None else f"{cost:7.2f} ns "
            out.print(f"{entry.name:<28} {entry.family:<10} {entry.unit:<6} {timed}{entry.formula}", markup=False)
    if not as_json:
        formulas = len({entry.key for entry in entries})
        out.print(f"{len(entries)} columns of {formulas} formulas", markup=False)
        for family, ns in costs.items():
            out.print(f"{family:<12} {ns:8.1f} ns an event, {columns.get(family, 0)} columns", markup=False)


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
