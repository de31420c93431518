"""Commands about fitted features and what features say: ``features fitted | report | order-flow | dataset``."""

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from orchestration.cli.console import out
from orchestration.cli.evidence import features_app
from orchestration.cli.roots import chosen


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``flowsense features``."""
    features_app.command("fitted")(fitted)
    features_app.command("report")(report)
    features_app.command("order-flow")(order_flow)
    features_app.command("dataset")(dataset)


def fitted(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Print the catalogue of fitted features: what each fold's parameters make of the raw ones."""
    from features.fitted.catalog import fitted_catalogue
    from marketdata.presets import preset

    root = chosen(context).data_root()
    settings = root.settings() if root.settings_file.exists() else preset("simulated", None)
    for entry in fitted_catalogue(settings):
        if as_json:
            out.print(json.dumps(asdict(entry)), markup=False)
        else:
            out.print(f"{entry.name:<28} {entry.unit:<8} {entry.formula}", markup=False)


def report(
    context: typer.Context,
    night: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Session; default: the last one with a dataset.")
    ] = None,
    instrument: Annotated[
        list[str] | None, typer.Option(help="Symbol whose book is drawn; may be given several times.")
    ] = None,
    page: Annotated[Path | None, typer.Option("--out", help="HTML file; default: in the root's reports.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the numbers as JSON as well.")] = None,
) -> None:
    """Say of every feature what it tells about the label, fold by fold, and draw books and order flow: a page of its own.

    Information coefficients come from training windows alone, with intervals and false-discovery control; beside them
    distributions, drift, cost, clusters, and class shares and persistence scores of every form of the label.
    """
    from orchestration.feature_pages import write_feature_page

    root, settings = chosen(context).open()
    found = write_feature_page(
        root, settings, night.date() if night else None, tuple(instrument or ()), page, json_file
    )
    for line in found.lines:
        out.print(line, markup=False)
    out.print(f"report  {found.page}", markup=False)


def order_flow(
    data: Annotated[Path, typer.Option(help="Folder of LOBSTER files, message and orderbook side by side.")],
    seed: Annotated[int, typer.Option(help="Seed of the shuffle that must collapse the relation.")] = 0,
) -> None:
    """Regress the mid's move on the order flow of the same 10 s, test the micro-price on held-back hours, compare labels."""
    from orchestration.order_flow_study import study_lines

    for line in study_lines(data, seed):
        out.print(line, markup=False)


def dataset(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Option("--out", help="Folder of the table and its manifest; replaced if it is there.")
    ],
    night: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Session; default: the last one with a dataset.")
    ] = None,
) -> None:
    """Write the training table of a session as Parquet with a manifest of what it is and what it was made from."""
    from orchestration.feature_pages import export_dataset

    root, settings = chosen(context).open()
    manifest = export_dataset(root, settings, night.date() if night else None, folder)
    out.print(
        f"{manifest['rows']:,} rows, {manifest['labelled']:,} labelled, {len(manifest['features'])} features, "
        f"{len(manifest['sessions'])} session(s); sha256 {manifest['content_sha256'][:16]}",
        markup=False,
    )
    out.print(f"dataset  {folder.resolve()}", markup=False)
