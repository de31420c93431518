"""Create a data root once, under a lock: settings, Dagster's instance, MLflow's database, ledgers, signing key.

Everything else waits for it: two processes that meet on a fresh MLflow database crash in its migration.
"""

import os
from typing import Final

from filelock import FileLock

from marketdata.paths import DataRoot
from marketdata.settings import Settings, SettingsError, save_settings

LAYOUT: Final = "1"
"""Version of the root's layout; written last, so that its presence means the root is whole."""
LOCK_TIMEOUT_S: Final = 300.0
FIXED: Final = ("source", "data", "calendar", "time_zone", "start_date", "instruments", "simulator")
"""Settings that what lies in a root was made with; the others may be edited in its file."""


def is_initialised(root: DataRoot) -> bool:
    """Whether the root is whole."""
    mark = root.initialised_mark
    return mark.exists() and mark.read_text(encoding="utf-8").strip() == LAYOUT


def initialise(root: DataRoot, settings: Settings | None = None) -> bool:
    """Create a data root, or complete one that was interrupted; return whether there was anything to do.

    Parameters
    ----------
    settings : Settings, optional
        Of a new root; without them the root's own file must be there.

    Raises
    ------
    SettingsError
        If the root was made with other settings: what lies in it was computed with those.
    """
    root.path.mkdir(parents=True, exist_ok=True)
    with FileLock(root.lock_file, timeout=LOCK_TIMEOUT_S):
        if settings is None:
            settings = root.settings()
        elif root.settings_file.exists():
            _require_equal(root, settings)
        if is_initialised(root):
            return False
        for folder in (root.logs, root.inbox, root.reports, root.bundles, root.folds, root.journals):
            folder.mkdir(parents=True, exist_ok=True)
        if not root.settings_file.exists():
            save_settings(settings, root.settings_file)
        from orchestration.instance import write_dagster_yaml

        write_dagster_yaml(root)
        _create_databases(root)
        temporary = root.initialised_mark.with_name(root.initialised_mark.name + ".tmp")
        temporary.write_text(LAYOUT + "\n", encoding="utf-8")
        os.replace(temporary, root.initialised_mark)
    return True


def ensure_initialised(root: DataRoot) -> DataRoot:
    """Return the root, created with the simulated source's defaults when there is none yet."""
    if not is_initialised(root):
        if root.settings_file.exists():
            settings = root.settings()
        else:
            from marketdata.presets import preset

            settings = preset("simulated", None)
        initialise(root, settings)
    return root


def _create_databases(root: DataRoot) -> None:
    """Create MLflow's store, the ledgers with their key, and Dagster's tables."""
    from models.decisions import DecisionLedger
    from models.tracking import init_tracking
    from models.trials import TrialLedger
    from orchestration.instance import open_instance

    init_tracking(root)
    TrialLedger(root)
    DecisionLedger(root)
    with open_instance(root) as instance:
        instance.get_runs_count()


def _require_equal(root: DataRoot, settings: Settings) -> None:
    """Raise naming the first field in which the root's settings differ from those asked for."""
    there, asked = root.settings(), settings
    for name in FIXED:
        if getattr(there, name) != getattr(asked, name):
            raise SettingsError(
                f"{root.settings_file}: {name}: this data root was made with other settings; "
                "choose another folder with --root, or remove this one"
            )
