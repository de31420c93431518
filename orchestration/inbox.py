"""Files that somebody puts into the root's inbox: they stand in for what the source says about one partition.

A file is named ``<date>_<symbol>.parquet`` and holds raw ticks with the source's own columns: a correction, a late delivery, a
recording from elsewhere. While it lies there, the raw ticks of that session and instrument are read from it.
"""

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl

from marketdata.paths import DataRoot
from orchestration.grids import Grids

_NAME: Final = re.compile(r"^(\d{4}-\d{2}-\d{2})_([A-Za-z0-9_.\-]+)\.parquet$")


@dataclass(frozen=True)
class InboxFile:
    """A file for one partition of raw ticks."""

    path: Path
    day: date
    symbol: str


def inbox_files(root: DataRoot, grids: Grids) -> list[InboxFile]:
    """Return the files that name a partition of the root, in order of name; others are left alone."""
    found = []
    for path in sorted(root.inbox.glob("*.parquet")):
        match = _NAME.match(path.name)
        if match is None:
            continue
        try:
            day = date.fromisoformat(match[1])
        except ValueError:
            continue
        if match[2] in grids.symbols and grids.spans(day):
            found.append(InboxFile(path, day, match[2]))
    return found


def inbox_path(root: DataRoot, day: date, symbol: str) -> Path:
    """Return where a file for a partition of raw ticks has to be put."""
    return root.inbox / f"{day.isoformat()}_{symbol}.parquet"


def read_inbox(path: Path) -> pl.DataFrame:
    """Return the rows of an inbox file.

    Raises
    ------
    SourceError
        If it is no Parquet file.
    """
    from marketdata.sources import SourceError

    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise SourceError(path, f"not a readable Parquet file: {error}") from error


def stamp(path: Path) -> str:
    """Return what changes when a file is replaced."""
    status = path.stat()
    return f"{status.st_mtime_ns}-{status.st_size}"
