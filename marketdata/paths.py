"""Every path inside a data root is made here and nowhere else."""

import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from marketdata.settings import Settings, load_settings

NO_INSTRUMENT = "_"
"""Folder name that stands for "all instruments" in partitions that are daily only."""


@dataclass(frozen=True, slots=True, order=True)
class PartitionKey:
    """The address of one partition: which asset, which session, which instrument (None: daily only)."""

    asset: str
    date: date
    symbol: str | None = None

    def __str__(self) -> str:
        """Return ``asset/symbol/date``, as used in messages."""
        return f"{self.asset}/{self.symbol or NO_INSTRUMENT}/{self.date.isoformat()}"


@dataclass(frozen=True, slots=True)
class DataRoot:
    """One data root: everything that one source's platform keeps, below one folder."""

    path: Path

    @property
    def settings_file(self) -> Path:
        """Settings of the root."""
        return self.path / "settings.toml"

    @property
    def lock_file(self) -> Path:
        """Lock held while the root is made."""
        return self.path / ".init.lock"

    @property
    def initialised_mark(self) -> Path:
        """File that is written last when the root is made: with it, the root is whole."""
        return self.path / ".initialised"

    @property
    def dagster_home(self) -> Path:
        """DAGSTER_HOME of the root."""
        return self.path / "dagster"

    @property
    def mlflow_database(self) -> Path:
        """SQLite file of the MLflow tracking store and registry."""
        return self.path / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        """Artifact folder of MLflow."""
        return self.path / "mlartifacts"

    @property
    def decisions_database(self) -> Path:
        """Hash-chained decision records."""
        return self.path / "decisions.sqlite"

    @property
    def trials_database(self) -> Path:
        """Append-only trial ledger."""
        return self.path / "trials.sqlite"

    @property
    def ledger_database(self) -> Path:
        """Orders, fills and equity of the paper executor."""
        return self.path / "ledger.sqlite"

    @property
    def controls_database(self) -> Path:
        """Accumulated results of the control worlds, per gate version."""
        return self.path / "controls.sqlite"

    @property
    def signing_key(self) -> Path:
        """Ed25519 private key that signs decision records (mode 0600)."""
        return self.path / "keys" / "decisions_ed25519.pem"

    @property
    def bundles(self) -> Path:
        """Folder of bundles by content hash."""
        return self.path / "bundles"

    @property
    def folds(self) -> Path:
        """Folder of finished fold fits by content hash."""
        return self.path / "folds"

    @property
    def reports(self) -> Path:
        """Folder of nightly reports."""
        return self.path / "reports"

    @property
    def journals(self) -> Path:
        """Folder of engine journals."""
        return self.path / "journals"

    @property
    def logs(self) -> Path:
        """Folder of process logs."""
        return self.path / "logs"

    @property
    def inbox(self) -> Path:
        """Folder watched by the new-files sensor."""
        return self.path / "inbox"

    @property
    def feeds(self) -> Path:
        """Folder of live feeds: checkpoints and counters."""
        return self.path / "feeds"

    def stage(self, key: PartitionKey) -> Path:
        """Return the staging folder of a partition."""
        return self._partition("staging", key)

    def published(self, key: PartitionKey) -> Path:
        """Return the published folder of a partition."""
        return self._partition("published", key)

    def quarantine(self, key: PartitionKey) -> Path:
        """Return the quarantine folder of a partition."""
        return self._partition("quarantine", key)

    @property
    def published_folder(self) -> Path:
        """Folder of all published partitions."""
        return self.path / "published"

    @property
    def quarantine_folder(self) -> Path:
        """Folder of all partitions in quarantine."""
        return self.path / "quarantine"

    @property
    def recordings(self) -> Path:
        """Folder of decoded recordings of a ``recorded`` root, one folder an input."""
        return self.path / "recordings"

    @property
    def nights(self) -> Path:
        """Folder of all nights."""
        return self.path / "nights"

    def night(self, day: date) -> Path:
        """Return the folder of a night's own results (scores, forecasts, evidence, side files)."""
        return self.nights / day.isoformat()

    def report(self, day: date) -> Path:
        """Return the HTML report of a night."""
        return self.reports / f"{day.isoformat()}.html"

    def settings(self) -> Settings:
        """Return the validated settings of this root.

        Raises
        ------
        SettingsError
            If they are missing or wrong.
        """
        return load_settings(self.settings_file)

    def _partition(self, area: str, key: PartitionKey) -> Path:
        return self.path / area / key.asset / (key.symbol or NO_INSTRUMENT) / key.date.isoformat()


def default_root(source: str = "simulated") -> DataRoot:
    """Return the root named by ``FLOWSENSE_ROOT``, else ``var/<source>`` below the working folder."""
    given = os.environ.get("FLOWSENSE_ROOT")
    return DataRoot((Path(given) if given else Path("var") / source).resolve())
