"""Commands that keep house: ``doctor``, ``warm``, ``bench``, ``new``, ``gc``, ``backup``, ``restore``."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from marketdata.settings import SettingsError
from orchestration.cli.console import err, out
from orchestration.cli.roots import chosen


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("doctor")(doctor)
    app.command("warm")(warm)
    app.command("bench")(bench)
    app.command("new")(new)
    app.command("gc")(gc)
    app.command("backup")(backup)
    app.command("restore")(restore)


def doctor(context: typer.Context) -> None:
    """Check Python, packages, memory, disk, ports, telemetry and the data root; exit code 1 when something is amiss."""
    from orchestration.doctor import examine
    from orchestration.up import Ports

    ports = Ports()
    findings = examine(chosen(context).data_root(), (ports.dagster, ports.mlflow, ports.api, ports.stream))
    for finding in findings:
        out.print(f"{'ok  ' if finding.good else 'FAIL'} {finding.name:<14} {finding.found}", markup=False)
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


def warm(
    processes: Annotated[int, typer.Option(min=1, help="Processes that compile side by side.")] = 2,
) -> None:
    """Compile the kernels of the night once on this machine, so that no first run has to wait for them."""
    from orchestration.warming import warm_all

    for name, seconds in warm_all(processes):
        out.print(f"{name:<24} {seconds:6.1f} s", markup=False)


def bench(
    names: Annotated[list[str] | None, typer.Argument(help="Benchmarks (default: all).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Run the benchmarks; each asserts its end state, peers are measured in the same run."""
    from benchmarks.registry import run_benchmarks

    try:
        rows = run_benchmarks(names or ())
    except KeyError as error:
        raise SettingsError(f"unknown benchmark {error}") from error
    for row in rows:
        if as_json:
            out.print(json.dumps(row), markup=False)
        else:
            peer = f"  {row['ratio']:.2f}x of {row['peer']}" if row.get("ratio") else ""
            speed = f"{row['per_s']:,.0f} {row['unit']}/s" if row.get("per_s") else ""
            tail = f"  p50 {row['p50_us']:.1f} us  p99 {row['p99_us']:.1f} us" if row.get("p99_us") else ""
            out.print(f"{row['name']:<18} n {row['n']:<12,} {speed}{tail}{peer}", markup=False)


def new(
    kind: Annotated[Literal["feature", "forecaster", "strategy", "venue"], typer.Argument(help="What to start.")],
    name: Annotated[str, typer.Argument(help="Its name, a Python identifier.")],
) -> None:
    """Write a working starting point, its test and, where its family has a catalogue, its line there."""
    from orchestration.scaffold import scaffold

    for path in scaffold(kind, name, Path.cwd()):
        out.print(str(path), markup=False)


def gc(
    context: typer.Context,
    keep_nights: Annotated[int, typer.Option(help="Nights to keep, with their training windows.")] = 30,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Remove old partitions, fits and pages; never what a decision record names."""
    from orchestration.housekeeping import collect, garbage

    root, _ = chosen(context).open()
    found = garbage(root, keep_nights) if dry_run else collect(root, keep_nights)
    for removal in found:
        out.print(f"{removal.size_bytes:>14,}  {removal.path}", markup=False)
    total = sum(removal.size_bytes for removal in found)
    out.print(
        f"{total:>14,}  bytes {'would be removed' if dry_run else 'removed'} in {len(found)} places", markup=False
    )


def backup(context: typer.Context, archive: Annotated[Path, typer.Argument(help="File to write, .tar.gz.")]) -> None:
    """Write the whole data root into one archive, consistent while the platform runs."""
    from orchestration.housekeeping import backup as write_backup

    root, _ = chosen(context).open()
    size = write_backup(root, archive)
    out.print(f"{archive}: {size:,} bytes", markup=False)
    err.print("the archive holds the signing key: keep it as safe as the root", markup=False)


def restore(context: typer.Context, archive: Annotated[Path, typer.Argument(help="Archive made by `backup`.")]) -> None:
    """Unpack a backup into the data root's folder, which must not exist."""
    from orchestration.housekeeping import restore as read_backup

    root = chosen(context).data_root()
    read_backup(archive, root)
    out.print(f"{root.path} restored; decisions verified", markup=False)
