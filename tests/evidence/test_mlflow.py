"""MLflow as the platform uses it: runs of a night, the registry without pickle, aliases that follow the decisions."""

import ast
import logging
import math
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from marketdata.paths import DataRoot
from models.bundle import Bundle, BundleError, BundleManifest, save_bundle
from models.decisions import Champion, DecisionLedger, NightInputs
from models.evaluation import score
from models.registry import (
    CHALLENGER_ALIAS,
    CHAMPION_ALIAS,
    REGISTERED_MODEL,
    RegistryError,
    download_bundle,
    find_bundle,
    project_champion,
    register_bundle,
)
from models.tracking import (
    TAG_CONTENT,
    TAG_MODEL,
    FoldRun,
    ModelRun,
    NightRuns,
    TrackedModel,
    init_tracking,
    log_night,
    tracking_client,
    tracking_uri,
)
from tests.evidence.worlds import verdict

DAY = date(2025, 1, 8)
CHECKOUT = Path(__file__).resolve().parents[2]


def make_bundle(root: DataRoot, name: str, seed: int) -> tuple[Path, str]:
    manifest = BundleManifest(
        name=name, role="candidate", key=f"key{seed}", fingerprint="f" * 64, columns=("a", "b"), instrument_ids=(0,),
        symbols=("AAA",), memory_ns=0, label={}, inference_ns=0, window={}, rows={}, hyperparameters={}, trial={},
        seed=seed, data_sha256="d" * 64, code_sha256="c" * 64, design={}, model={}, diagnostics={},
    )  # fmt: skip
    folder = root.bundles / f"key{seed}"
    arrays = {"model.w": np.random.default_rng(seed).normal(size=8)}
    return folder, save_bundle(Bundle(manifest, arrays), folder)


def make_night(root: DataRoot, **tags: str) -> NightRuns:
    rng = np.random.default_rng(0)
    models = []
    for seed, name in enumerate(("linear", "majority")):
        y = rng.integers(-1, 2, 400).astype(np.int8)
        scores = score(rng.dirichlet([1.0, 1.0, 1.0], 400), y)
        folds = [
            FoldRun(
                f"fold {k}",
                {"test": f"2025-01-0{k + 6}", "train_rows": 100 * k},
                {"mcc": 0.1 * k, "net_pnl": float("nan")},
            )
            for k in range(2)
        ]
        candidate = name == "linear"
        folder, digest = make_bundle(root, name, seed) if candidate else (None, None)
        models.append(
            ModelRun(
                name, "candidate" if candidate else "baseline", {"seed": seed}, scores,
                {"net_pnl": 12.5, "p_value": math.nan}, folds, rng.normal(size=100), folder, digest,
                {"columns": ["a", "b"]} if candidate else {},
            )
        )  # fmt: skip
    return NightRuns(
        DAY, "ab" * 32, 400, "published/dataset_day", models, {"code_sha256": "c0de", "dirty": "False", **tags}
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    root = DataRoot(tmp_path_factory.mktemp("mlflow"))
    init_tracking(root)
    return root


def refuse_lookup(host: object, *args: object, **kwargs: object) -> object:
    raise AssertionError(f"something looked up {host!r}")


@pytest.fixture(scope="module")
def tracked(root: DataRoot) -> dict[str, TrackedModel]:
    """Return a logged night; nothing may look up a name meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", refuse_lookup)
        return log_night(root, make_night(root))


@pytest.fixture
def fresh(root: DataRoot, tmp_path: Path) -> Iterator[DataRoot]:
    """Return a root of its own for decisions and bundles, with an empty registry on the shared database."""
    own = DataRoot(tmp_path)
    own.mlflow_database.symlink_to(root.mlflow_database)
    own.mlflow_artifacts.symlink_to(root.mlflow_artifacts)
    yield own
    client = tracking_client(own)
    for model in client.search_registered_models():
        client.delete_registered_model(model.name)


class TestANightsRuns:
    def test_are_one_parent_a_model_with_a_nested_run_a_fold(
        self, root: DataRoot, tracked: dict[str, TrackedModel]
    ) -> None:
        client = tracking_client(root)
        parent = client.get_run(tracked["linear"].run_id)
        assert parent.info.status == "FINISHED"
        assert parent.data.metrics["net_pnl"] == 12.5
        assert "p_value" not in parent.data.metrics
        assert parent.data.params == {"seed": "0"}
        assert parent.data.tags["flowsense.code_sha256"] == "c0de"
        assert parent.data.tags["flowsense.dirty"] == "False"
        assert {m.step: m.value for m in client.get_metric_history(parent.info.run_id, "fold/mcc")} == {0: 0.0, 1: 0.1}
        children = client.search_runs([parent.info.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
        assert {c.info.run_name for c in children} == {"linear fold 0", "linear fold 1"}
        assert {c.data.params["test"] for c in children} == {"2025-01-06", "2025-01-07"}

    def test_name_their_dataset_and_hold_their_plots(self, root: DataRoot, tracked: dict[str, TrackedModel]) -> None:
        client = tracking_client(root)
        (entry,) = client.get_run(tracked["linear"].run_id).inputs.dataset_inputs
        assert entry.dataset.digest == ("ab" * 32)[:32]
        plots = {item.path for item in client.list_artifacts(tracked["linear"].run_id, "plots")}
        assert plots == {"plots/calibration.png", "plots/confusion.png", "plots/cumulative_pnl.png"}

    def test_hold_the_bundle_as_plain_files(self, root: DataRoot, tracked: dict[str, TrackedModel]) -> None:
        model_id = tracked["linear"].logged_model_id
        assert model_id is not None
        assert tracked["majority"].logged_model_id is None
        folder = Path(tracking_client(root).get_logged_model(model_id).artifact_location.removeprefix("file://"))
        assert folder.is_relative_to(root.mlflow_artifacts)
        assert sorted(p.name for p in folder.iterdir()) == ["arrays.safetensors", "manifest.json"]

    def test_are_left_alone_when_the_night_is_run_again(self, root: DataRoot, tracked: dict[str, TrackedModel]) -> None:
        assert log_night(root, make_night(root)) == tracked

    def test_are_replaced_when_something_changed_or_was_left_half_written(self, root: DataRoot) -> None:
        night = replace(make_night(root, code_sha256="one"), day=date(2025, 1, 9))
        before = log_night(root, night)
        client = tracking_client(root)
        client.delete_tag(before["majority"].run_id, TAG_CONTENT)
        changed = replace(night, models=[replace(night.models[0], params={"seed": 7}), night.models[1]])
        after = log_night(root, changed)
        assert after["linear"].run_id != before["linear"].run_id
        assert after["majority"].run_id != before["majority"].run_id
        experiment = client.get_run(after["linear"].run_id).info.experiment_id
        runs = client.search_runs([experiment], "tags.`flowsense.night` = '2025-01-09'")
        assert len(runs) == 6
        assert sorted(r.data.tags[TAG_MODEL] for r in runs) == ["linear"] * 3 + ["majority"] * 3

    def test_lie_below_the_data_root(self, root: DataRoot, tracked: dict[str, TrackedModel]) -> None:
        assert tracking_uri(root) == f"sqlite:///{root.path.resolve()}/mlflow.db"
        location = tracking_client(root).get_run(tracked["linear"].run_id).info.artifact_uri
        assert Path(location.removeprefix("file://")).is_relative_to(root.path)

    def test_lie_in_an_experiment_whose_page_opens_with_models_to_compare(self, root: DataRoot) -> None:
        experiment = tracking_client(root).get_experiment_by_name("flowsense")
        assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_a_moved_root_writes_below_its_new_folder_and_serves_its_champion(tmp_path: Path) -> None:
    old = DataRoot(tmp_path / "old")
    init_tracking(old)
    _, digest = make_bundle(old, "linear", 1)
    DecisionLedger(old).promote("linear", digest, 100, by="ann", why="test")
    project_champion(old)
    new = DataRoot(tmp_path / "new")
    old.path.rename(new.path)
    champion = DecisionLedger(new).champion_at()
    assert champion is not None
    assert project_champion(new).changed
    assert download_bundle(new, champion).sha256 == digest
    assert not old.path.exists()


class TestTheRegistry:
    def test_registers_a_bundle_once(self, fresh: DataRoot) -> None:
        folder, digest = make_bundle(fresh, "linear", 1)
        first = register_bundle(fresh, folder)
        assert (first.model, first.bundle_sha256) == ("linear", digest)
        assert register_bundle(fresh, folder) == first

    def test_takes_the_model_that_the_night_logged(self, root: DataRoot, tracked: dict[str, TrackedModel]) -> None:
        model_id = tracked["linear"].logged_model_id
        version = register_bundle(root, root.bundles / "key0", logged_model_id=model_id)
        found = tracking_client(root).get_model_version(REGISTERED_MODEL, version.version)
        assert found.source == f"models:/{model_id}"
        assert found.run_id == tracked["linear"].run_id

    def test_refuses_a_folder_that_is_no_bundle(self, fresh: DataRoot) -> None:
        with pytest.raises(BundleError):
            register_bundle(fresh, fresh.path)

    def test_finds_a_stored_bundle_by_the_beginning_of_its_hash(self, fresh: DataRoot) -> None:
        folder, digest = make_bundle(fresh, "linear", 1)
        make_bundle(fresh, "hmm", 2)
        assert find_bundle(fresh, digest[:10]) == folder
        with pytest.raises(RegistryError, match="no bundle"):
            find_bundle(fresh, "0" * 64)
        with pytest.raises(RegistryError, match="too short"):
            find_bundle(fresh, "0")


class TestTheAliases:
    @pytest.fixture
    def digests(self, fresh: DataRoot) -> list[str]:
        return [make_bundle(fresh, name, seed)[1] for seed, name in enumerate(("c0", "c1", "c2"))]

    @pytest.fixture
    def ledger(self, fresh: DataRoot, digests: list[str]) -> DecisionLedger:
        ledger = DecisionLedger(fresh)
        inputs = NightInputs({f"c{i}": digest for i, digest in enumerate(digests)}, "e" * 64)
        ledger.record_night(DAY, verdict(True), inputs, 100)
        return ledger

    def aliases(self, root: DataRoot) -> dict[str, str]:
        client = tracking_client(root)
        model = client.get_registered_model(REGISTERED_MODEL)
        return {a: client.get_model_version(REGISTERED_MODEL, str(v)).tags[TAG_MODEL] for a, v in model.aliases.items()}

    def test_show_nobody_before_the_first_decision(self, fresh: DataRoot) -> None:
        found = project_champion(fresh)
        assert (found.champion, found.challenger, found.changed) == (None, None, False)

    def test_follow_promotion_refusal_and_rollback(
        self, fresh: DataRoot, ledger: DecisionLedger, digests: list[str]
    ) -> None:
        assert project_champion(fresh).changed
        assert self.aliases(fresh) == {CHAMPION_ALIAS: "c0"}
        assert not project_champion(fresh).changed
        refused = verdict(False)
        inputs = NightInputs({f"c{i}": digest for i, digest in enumerate(digests)}, "e" * 64)
        ledger.record_night(date(2025, 1, 9), refused, inputs, 200)
        ledger.promote("c2", digests[2], 300, by="ann", why="test")
        project_champion(fresh)
        assert self.aliases(fresh) == {CHAMPION_ALIAS: "c2", CHALLENGER_ALIAS: refused.best_candidate}
        ledger.rollback(400, by="ann", why="test over")
        project_champion(fresh)
        assert self.aliases(fresh)[CHAMPION_ALIAS] == "c0"

    def test_are_repaired_when_somebody_moved_or_removed_them(
        self, fresh: DataRoot, ledger: DecisionLedger, digests: list[str]
    ) -> None:
        project_champion(fresh)
        client = tracking_client(fresh)
        other = register_bundle(fresh, fresh.bundles / "key1")
        client.set_registered_model_alias(REGISTERED_MODEL, CHAMPION_ALIAS, other.version)
        assert project_champion(fresh).changed
        assert self.aliases(fresh) == {CHAMPION_ALIAS: "c0"}
        client.delete_registered_model(REGISTERED_MODEL)
        assert project_champion(fresh).changed
        assert self.aliases(fresh) == {CHAMPION_ALIAS: "c0"}

    def test_lead_to_the_bundle_that_the_record_names(
        self, fresh: DataRoot, ledger: DecisionLedger, digests: list[str]
    ) -> None:
        project_champion(fresh)
        champion = ledger.champion_at()
        assert champion is not None
        assert download_bundle(fresh, champion).sha256 == digests[0]
        # A champion of another time is served as well, though no alias shows it.
        assert download_bundle(fresh, Champion("c1", digests[1], 0, 1, 1)).sha256 == digests[1]

    def test_never_lead_to_other_bytes(self, fresh: DataRoot, ledger: DecisionLedger) -> None:
        project_champion(fresh)
        champion = ledger.champion_at()
        assert champion is not None
        (arrays,) = self.files(fresh, "arrays.safetensors")
        data = bytearray(arrays.read_bytes())
        data[-1] ^= 1
        arrays.write_bytes(bytes(data))
        with pytest.raises(BundleError, match="the decision record names"):
            download_bundle(fresh, champion)

    def test_lead_to_the_bundle_again_after_its_files_were_lost(self, fresh: DataRoot, ledger: DecisionLedger) -> None:
        project_champion(fresh)
        champion = ledger.champion_at()
        assert champion is not None
        shutil.rmtree(self.files(fresh, "manifest.json")[0].parent)
        assert project_champion(fresh).changed
        assert download_bundle(fresh, champion).sha256 == champion.bundle_sha256

    def files(self, root: DataRoot, name: str) -> list[Path]:
        client = tracking_client(root)
        version = client.get_model_version_by_alias(REGISTERED_MODEL, CHAMPION_ALIAS)
        model = client.get_logged_model(version.source.removeprefix("models:/"))
        return [p for p in Path(model.artifact_location.removeprefix("file://")).iterdir() if p.name == name]


def test_no_module_of_ours_lets_mlflow_load_a_model() -> None:
    """Loading a model is how a pickle would be run; nothing of ours may call it."""
    for package in ("models", "serving", "backtests", "orchestration", "trading"):
        for path in sorted((CHECKOUT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                assert not (isinstance(node, ast.Attribute) and node.attr == "load_model"), path


def test_importing_the_tracking_modules_does_not_import_mlflow() -> None:
    code = (
        "import sys, models.tracking, models.registry; sys.exit('mlflow' in sys.modules or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=False).returncode == 0


def test_mlflow_is_told_to_keep_quiet(root: DataRoot, capfd: pytest.CaptureFixture[str]) -> None:
    make_bundle(root, "quiet", 9)
    register_bundle(root, root.bundles / "key9")
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
    assert logging.getLogger("mlflow").level == logging.WARNING
