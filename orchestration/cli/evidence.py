"""Commands about what is believed and who trades: ``champion``, ``promote``, ``rollback``, ``predict``, ``features``."""

import getpass
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from marketdata.clock import from_ns, to_ns
from marketdata.settings import SettingsError
from orchestration.cli.console import out
from orchestration.cli.roots import chosen

features_app = typer.Typer(help="The feature catalogue.", no_args_is_help=True)
By = Annotated[str, typer.Option(help="Who decides this (default: the user name).")]
Why = Annotated[str, typer.Option(help="Why; kept in the signed record.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("champion")(champion)
    app.command("promote")(promote)
    app.command("rollback")(rollback)
    app.command("predict")(predict)
    app.add_typer(features_app, name="features")


def champion(
    context: typer.Context,
    at: Annotated[str | None, typer.Option(help="Time, ISO 8601 with zone (default: after all decisions).")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Walk the chain of decisions and check every signature.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say which model trades at a time, since when, and by which decision; exit code 1 when there is none."""
    from models.decisions import DecisionLedger

    root, _ = chosen(context).open()
    ledger = DecisionLedger(root)
    if verify:
        found = ledger.verify()
        if not found.ok:
            out.print(f"record {found.broken} of {found.records} is broken: {found.problem}", markup=False)
            raise typer.Exit(1)
        out.print(f"{found.records} records, all linked and signed; head {found.head[:16]}", markup=False)
        return
    who = ledger.champion_at(_time(at)) if at else ledger.champion_at()
    if who is None:
        out.print("{}" if as_json else "no champion", markup=False)
        raise typer.Exit(1)
    if as_json:
        values = {
            "model": who.model,
            "bundle_sha256": who.bundle_sha256,
            "since": from_ns(who.since_ns).isoformat(),
            "record": who.decided_by,
        }
        out.print(json.dumps(values), markup=False)
        return
    since = f"{from_ns(who.since_ns):%Y-%m-%d %H:%M:%S} UTC"
    out.print(f"{who.model}  bundle {who.bundle_sha256[:16]}  since {since}  record {who.decided_by}", markup=False)


def promote(
    context: typer.Context,
    bundle: Annotated[str, typer.Argument(help="Content hash of the bundle, or the start of it.")],
    why: Why,
    by: By = "",
) -> None:
    """Make a bundle the champion by hand, past the gate; signed with who and why."""
    from models.bundle import load_bundle
    from models.decisions import DecisionLedger
    from models.label_rule import EXECUTABLE

    root, _ = chosen(context).open()
    stored = [load_bundle(folder) for folder in sorted(root.bundles.glob("*")) if folder.is_dir()]
    matches = [found for found in stored if bundle and found.sha256.startswith(bundle)]
    if len(matches) != 1:
        raise SettingsError(f"{root.bundles}: {len(matches)} bundles begin with {bundle!r}; give the hash of one")
    model, digest = matches[0].manifest.name, matches[0].sha256
    record = DecisionLedger(root).promote(model, digest, by=by or getpass.getuser(), why=why)
    _project(context)
    out.print(f"record {record.sequence}: {model} {digest[:16]} is champion from now on", markup=False)
    if (form := matches[0].manifest.label.get("form", EXECUTABLE)) != EXECUTABLE:
        out.print(
            f"it learnt the label form {form}: its forecasts are not of the move that an order can earn", markup=False
        )


def rollback(
    context: typer.Context,
    why: Why,
    by: By = "",
    to_nobody: Annotated[bool, typer.Option("--to-nobody", help="Withdraw the first champion; nobody trades.")] = False,
) -> None:
    """Bring the champion before the present one back; signed with who and why."""
    from models.decisions import DecisionLedger

    root, _ = chosen(context).open()
    ledger = DecisionLedger(root)
    record = ledger.rollback(by=by or getpass.getuser(), why=why, to_nobody=to_nobody)
    _project(context)
    who = ledger.champion_at()
    outcome = f"{who.model} {who.bundle_sha256[:16]} trades again" if who else "nobody trades"
    out.print(f"record {record.sequence}: {outcome}", markup=False)


def predict(
    context: typer.Context,
    rows: Annotated[
        Path | None, typer.Argument(help='JSON {"instrument": …, "rows": [[…], …]}; default stdin.')
    ] = None,
) -> None:
    """Forecast feature rows with the champion; the same answer as the API's /v1/predict."""
    from pydantic import ValidationError

    from serving.service import PredictionService, PredictRequest

    root, settings = chosen(context).open()
    text = rows.read_text(encoding="utf-8") if rows else sys.stdin.read()
    try:
        request = PredictRequest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{rows or 'stdin'}: {where + ': ' if where else ''}{first['msg']}") from error
    out.print_json(PredictionService(root, settings).predict(request).model_dump_json())


def _project(context: typer.Context) -> None:
    """Bring the registry's alias in line with the decisions."""
    from models.registry import project_champion

    root, _ = chosen(context).open()
    project_champion(root)


def _time(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingsError(f"--at {text!r} is no ISO 8601 time") from error
    return to_ns(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
