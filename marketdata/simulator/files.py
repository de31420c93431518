"""A simulated run as a folder of files: whole or not at all, and never over anything else."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import polars as pl

from marketdata.instruments import Instrument
from marketdata.settings import Settings, SettingsError
from marketdata.simulator.session import SimulatedSession, simulate_session

MANIFEST: Final = "simulation.json"
"""Names the run; a folder without it was not made here and is never replaced."""
FORMATS: Final = ("parquet", "csv")
MORE_SYMBOLS: Final = (
    "FOXTROT", "GOLF", "HOTEL", "INDIA", "JULIETT", "KILO", "LIMA", "MIKE", "NOVEMBER", "OSCAR", "PAPA", "QUEBEC", "ROMEO",
    "SIERRA", "TANGO", "UNIFORM", "VICTOR", "WHISKEY", "XRAY", "YANKEE", "ZULU",
)  # fmt: skip
"""Names of instruments beyond those of the preset."""


def with_instruments(settings: Settings, count: int) -> Settings:
    """Return the settings with ``count`` instruments: the first of its own, then more of the same characters.

    Raises
    ------
    SettingsError
        If there are no names for so many.
    """
    own = settings.instruments
    if not 1 <= count <= len(own) + len(MORE_SYMBOLS):
        raise SettingsError(f"{count} instruments: there are names for 1 to {len(own) + len(MORE_SYMBOLS)}")
    more = tuple(
        own[k % len(own)].model_copy(update={"symbol": MORE_SYMBOLS[k - len(own)], "instrument_id": k})
        for k in range(len(own), count)
    )
    return settings.model_copy(update={"instruments": (own + more)[:count]})


def simulate_to(
    destination: Path,
    settings: Settings,
    days: int,
    *,
    form: str = "parquet",
    force: bool = False,
    each: Callable[[SimulatedSession, int], None] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Simulate sessions into a folder: one folder a day with ticks, slow data and truth, and a manifest.

    Everything is written beside the destination first, which then takes its place by a rename.

    Parameters
    ----------
    destination : Path
        Made if missing; must be empty, or with ``force`` an earlier run of this function.
    form : str
        One of :data:`FORMATS`.
    each : callable, optional
        ``each(session, index)`` for every session once it is written.
    progress : callable, optional
        ``progress(stage, done, total)``.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    SettingsError
        If the destination is in the way, or the form is unknown. Nothing is changed then.
    """
    if form not in FORMATS:
        raise SettingsError(f"{form!r} is no form; there are {', '.join(FORMATS)}")
    destination = destination.absolute()
    _check_room(destination, force)
    partial = destination.with_name(f".{destination.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    say = progress or (lambda stage, done, total: None)
    sessions = settings.market_calendar().first_sessions(settings.start_date, days)
    rows: dict[str, dict[str, int]] = {}
    try:
        partial.mkdir(parents=True)
        for index, session in enumerate(sessions):
            say("simulate", index, days)
            made = simulate_session(settings, session, index)
            folder = partial / session.date.isoformat()
            folder.mkdir()
            rows[session.date.isoformat()] = _write_session(folder, made, form)
            if each is not None:
                each(made, index)
        manifest = {
            "simulator": settings.simulator.model_dump(mode="json"),
            "instruments": [_named(item) for item in settings.instruments],
            "form": form,
            "rows": rows,
        }
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        _take_place(partial, destination)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    say("simulate", days, days)
    return manifest


def _named(item: Instrument) -> dict[str, Any]:
    return {"symbol": item.symbol, "instrument_id": item.instrument_id, "tick_units": item.tick_units}


def _check_room(destination: Path, force: bool) -> None:
    if destination.is_symlink() or (destination.exists() and not destination.is_dir()):
        raise SettingsError(f"{destination}: is no folder")
    if not destination.exists() or not any(destination.iterdir()):
        return
    is_ours = (destination / MANIFEST).is_file()
    if not force:
        hint = "; --force replaces it" if is_ours else ""
        raise SettingsError(f"{destination}: is not empty{hint}")
    if not is_ours:
        raise SettingsError(f"{destination}: holds no {MANIFEST}, so it was not simulated here and is not replaced")


def _take_place(partial: Path, destination: Path) -> None:
    old = destination.with_name(f".{destination.name}.old-{os.getpid()}")
    if destination.exists():
        os.replace(destination, old)
    os.replace(partial, destination)
    shutil.rmtree(old, ignore_errors=True)


def _write_session(folder: Path, made: SimulatedSession, form: str) -> dict[str, int]:
    """Write one session, and return the rows of each file by its stem."""
    frames = {f"ticks_{symbol}": frame for symbol, frame in made.ticks.items()}
    frames |= {name: getattr(made, name) for name in ("options", "posts", "transfers")}
    frames |= {f"truth_{part.name}": getattr(made.truth, part.name) for part in fields(made.truth)}
    for stem, frame in frames.items():
        _write(frame, folder / f"{stem}.{form}")
    return {stem: frame.height for stem, frame in frames.items()}


def _write(frame: pl.DataFrame, path: Path) -> None:
    if path.suffix == ".csv":
        frame.write_csv(path)
    else:
        frame.write_parquet(path)
