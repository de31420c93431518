"""Which data root a command works on, and how it is opened."""

from dataclasses import dataclass
from pathlib import Path

import typer

from marketdata.paths import DataRoot, default_root
from marketdata.settings import Settings, SettingsError


@dataclass(frozen=True, slots=True)
class Choice:
    """What the user said about the data root before the command: its folder, or the source it belongs to."""

    root: Path | None
    source: str

    def open(self) -> tuple[DataRoot, Settings]:
        """Return the root and its settings; raise SettingsError when it was never made."""
        root = self.data_root()
        if not root.settings_file.exists():
            raise SettingsError(f"{root.path} is no data root yet; make it with `flowsense init` or `make run`")
        return root, root.settings()

    def data_root(self, source: str | None = None, signal: float | None = None) -> DataRoot:
        """Return the root that was named, else the one of the source and signal below ``var/``."""
        if self.root is not None:
            return DataRoot(self.root.resolve())
        name = source or self.source
        if name == "simulated" and signal is not None and signal != 1.0:
            name = f"simulated_signal_{signal:g}"
        return default_root(name)


def chosen(context: typer.Context) -> Choice:
    """Return the choice made by the global options."""
    choice = context.obj
    assert isinstance(choice, Choice)
    return choice
