"""How MLflow's server is started for a data root: its own application under uvicorn, without the command line around it.

``mlflow server`` imports everything, starts uvicorn, which imports everything again, and waits: a quarter of a gigabyte that does
nothing. It tells uvicorn by environment variables what to serve; so does this. A test compares both.
"""

import uuid
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from marketdata.paths import DataRoot

APPLICATION: Final = "mlflow.server.fastapi_app:app"


def server_command(python: str, host: str, port: int) -> list[str]:
    """Return the command that serves MLflow's pages and its interface with one worker."""
    spec = find_spec("mlflow")  # finds the folder, imports nothing
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("mlflow is not installed: run `make setup`")
    logs = Path(spec.origin).parent / "server" / "uvicorn_log_config.yaml"
    where = ("--host", host, "--port", str(port), "--workers", "1")
    return [python, "-m", "uvicorn", "--log-config", str(logs), *where, APPLICATION]


def server_environment(root: DataRoot) -> dict[str, str]:
    """Return what the server is told: the root's database and artifacts, and to run no jobs of its own."""
    database = f"sqlite:///{root.mlflow_database.resolve()}"
    return {
        "_MLFLOW_SERVER_FILE_STORE": database,
        "_MLFLOW_SERVER_REGISTRY_STORE": database,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(root.mlflow_artifacts.resolve()),
        "_MLFLOW_SERVER_BOOT_ID": uuid.uuid4().hex,
        "_MLFLOW_IN_JOB_EXECUTOR": "false",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
