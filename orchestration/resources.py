"""The one resource of all assets: the data root."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from marketdata.paths import DataRoot
from marketdata.settings import Settings

if TYPE_CHECKING:  # the sources' parsers would make loading the code location slow
    from marketdata.sources import Source


class RootResource(dg.ConfigurableResource[None]):
    """The data root that the assets read and write; settings are read from it at every run."""

    path: str

    @property
    def data_root(self) -> DataRoot:
        """Paths of the root."""
        return DataRoot(Path(self.path))

    def settings(self) -> Settings:
        """Return the root's settings as they stand in its file now."""
        return self.data_root.settings()

    def source(self) -> "Source":
        """Return the source of ticks and slow signals, one a process and state of the settings."""
        return open_source(self.data_root, self.settings().model_dump_json())


@lru_cache(maxsize=2)
def open_source(root: DataRoot, settings_json: str) -> "Source":
    """Return the source of a root; the simulated one keeps the sessions it has simulated for this process."""
    from marketdata.sources import build_source

    return build_source(Settings.model_validate_json(settings_json), root)
