"""MLflow, the registry half: versions of bundles, and the aliases that show who is champion.

The aliases are a projection of the decision chain: set after a record, repaired from the records at start, never read
to find out who may trade. What serves a bundle downloads it from here and checks its hash against the decision record.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from marketdata.paths import DataRoot
from models.bundle import ARRAYS_FILE, MANIFEST_FILE, Bundle, load_bundle
from models.bundle import bundle_sha256 as bundle_sha256_of
from models.decisions import Champion, DecisionLedger
from models.tracking import TAG_BUNDLE, TAG_MODEL, bound_to, init_tracking, log_bundle, tracking_client

REGISTERED_MODEL: Final = "flowsense"
CHAMPION_ALIAS: Final = "champion"
CHALLENGER_ALIAS: Final = "challenger"


class RegistryError(LookupError):
    """The registry does not have what was asked for, and it cannot be made again from the data root."""


@dataclass(frozen=True, slots=True)
class RegisteredBundle:
    """A version of the registered model."""

    version: str
    model: str
    bundle_sha256: str


@dataclass(frozen=True, slots=True)
class Projection:
    """What the aliases show after they were set from the decision records, and whether anything had to change."""

    champion: RegisteredBundle | None
    challenger: RegisteredBundle | None
    changed: bool


def register_bundle(root: DataRoot, folder: Path, *, logged_model_id: str | None = None) -> RegisteredBundle:
    """Register a bundle as a version of the registered model, unless it is one, and return the version.

    Parameters
    ----------
    folder : Path
        The bundle; it is opened to make sure that it is whole.
    logged_model_id : str, optional
        The model that :func:`models.tracking.log_night` logged with these files; without it they are logged now.

    Raises
    ------
    BundleError
        If the folder holds no whole bundle.
    """
    import mlflow

    bundle = load_bundle(folder)
    known = _version_of(root, bundle.sha256)
    if known is not None:
        return known
    name = bundle.manifest.name
    if logged_model_id is None:
        logged_model_id = log_bundle(root, name, folder, bundle.sha256, None, init_tracking(root))
    tags = {TAG_BUNDLE: bundle.sha256, TAG_MODEL: name, "flowsense.fingerprint": bundle.manifest.fingerprint}
    with bound_to(root):
        version = mlflow.register_model(f"models:/{logged_model_id}", REGISTERED_MODEL, 0, tags=tags)
    return RegisteredBundle(str(version.version), name, bundle.sha256)


def find_bundle(root: DataRoot, bundle_sha256: str) -> Path:
    """Return the folder of the data root's bundle store that holds a bundle; a unique beginning of the hash is enough.

    Raises
    ------
    RegistryError
        If none does, or several do.
    """
    if len(bundle_sha256) < 6:
        raise RegistryError(f"{bundle_sha256!r} is too short for a bundle's hash: give at least 6 characters")
    found: dict[str, Path] = {}
    for manifest in sorted(root.bundles.glob(f"*/{MANIFEST_FILE}")):
        folder = manifest.parent
        digest = bundle_sha256_of(manifest.read_bytes(), (folder / ARRAYS_FILE).read_bytes())
        if digest.startswith(bundle_sha256):
            found.setdefault(digest, folder)
    if len(found) != 1:
        what = "no bundle" if not found else f"{len(found)} bundles"
        raise RegistryError(f"{what} in {root.bundles} with hash {bundle_sha256[:12]}")
    return next(iter(found.values()))


def project_champion(root: DataRoot) -> Projection:
    """Set the aliases to what the decision records say; call it after each record and at every start.

    A bundle that MLflow has lost is registered again from the data root's bundle store.

    Raises
    ------
    RegistryError
        If the store has lost the bundle as well.
    """
    ledger = DecisionLedger(root)
    champion = ledger.champion_at()
    nights = [record for record in ledger.history() if record.night is not None]
    shadow = nights[-1].content.get("shadow") if nights else None
    client = tracking_client(root)
    aliases = _aliases(client)
    wanted = {
        CHAMPION_ALIAS: champion.bundle_sha256 if champion else None,
        CHALLENGER_ALIAS: shadow["bundle_sha256"] if shadow else None,
    }
    set_to: dict[str, RegisteredBundle | None] = {}
    changed = False
    for alias, digest in wanted.items():
        version = _whole_version(root, digest) if digest is not None else None
        set_to[alias] = version
        if version is None and alias in aliases:
            client.delete_registered_model_alias(REGISTERED_MODEL, alias)
            changed = True
        elif version is not None and aliases.get(alias) != version.version:
            client.set_registered_model_alias(REGISTERED_MODEL, alias, version.version)
            changed = True
    return Projection(set_to[CHAMPION_ALIAS], set_to[CHALLENGER_ALIAS], changed)


def download_bundle(root: DataRoot, champion: Champion) -> Bundle:
    """Return the bundle that a decision record names, from the registry, its hash checked against the record.

    The alias ``champion`` is followed when it shows this bundle; a champion of another time is found by its hash.

    Raises
    ------
    BundleError
        If what the registry holds is not what the record names.
    RegistryError
        If neither registry nor bundle store has it.
    """
    version = _whole_version(root, champion.bundle_sha256)
    shown = _aliases(tracking_client(root)).get(CHAMPION_ALIAS)
    reference = f"@{CHAMPION_ALIAS}" if shown == version.version else f"/{version.version}"
    folder = _download(root, f"models:/{REGISTERED_MODEL}{reference}")
    if folder is None:
        raise RegistryError(f"the files of {REGISTERED_MODEL}{reference} went away while they were read")
    return load_bundle(folder, champion.bundle_sha256)


def _whole_version(root: DataRoot, bundle_sha256: str) -> RegisteredBundle:
    """Return a bundle's version; one whose files are gone is replaced from the bundle store."""
    known = _version_of(root, bundle_sha256)
    if known is not None and _download(root, f"models:/{REGISTERED_MODEL}/{known.version}") is not None:
        return known
    folder = find_bundle(root, bundle_sha256)
    if known is not None:
        tracking_client(root).delete_model_version(REGISTERED_MODEL, known.version)
    return register_bundle(root, folder)


def _version_of(root: DataRoot, bundle_sha256: str) -> RegisteredBundle | None:
    """Return the oldest version of a bundle, None when it was never registered."""
    found = tracking_client(root).search_model_versions(
        f"name = '{REGISTERED_MODEL}' and tags.`{TAG_BUNDLE}` = '{bundle_sha256}'"
    )
    if not found:
        return None
    oldest = min(found, key=lambda version: int(version.version))
    return RegisteredBundle(str(oldest.version), oldest.tags[TAG_MODEL], bundle_sha256)


def _aliases(client: Any) -> dict[str, str]:
    """Return alias → version; empty before the first bundle is registered."""
    from mlflow.exceptions import MlflowException

    try:
        aliases = client.get_registered_model(REGISTERED_MODEL).aliases
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}
    return {alias: str(version) for alias, version in aliases.items()}


def _download(root: DataRoot, uri: str) -> Path | None:
    """Return the folder of a version's files (where they lie, not a copy); None when they are gone."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        with bound_to(root):
            return Path(mlflow.artifacts.download_artifacts(uri))
    except MlflowException as error:
        if "No such artifact" not in str(error):
            raise
        return None
