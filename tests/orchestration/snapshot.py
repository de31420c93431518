"""The asset graph as plain data, and the command that writes it down: ``python -m tests.orchestration.snapshot``."""

import json
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg

from marketdata.paths import DataRoot
from marketdata.presets import preset
from marketdata.settings import save_settings
from orchestration.location import build_definitions

SNAPSHOT = Path(__file__).with_name("asset_graph.json")


def simulated_definitions(folder: Path) -> dg.Definitions:
    """Return the definitions of the simulated source's default root; the root is only settings, nothing is initialised."""
    root = DataRoot(folder)
    root.path.mkdir(parents=True, exist_ok=True)
    save_settings(preset("simulated", None), root.settings_file)
    return build_definitions(root)


def graph_of(defs: dg.Definitions) -> dict[str, Any]:
    """Return assets, jobs, schedules and sensors with everything that a reader of the graph would see."""
    repository = defs.get_repository_def()
    graph = repository.asset_graph
    assets = {}
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assets[key.to_user_string()] = {
            "group": node.group_name,
            "grid": type(node.partitions_def).__name__,
            "kinds": sorted(node.kinds),
            "pools": sorted(node.pools or ()),
            "checks": sorted(check.name for check in node.check_keys),
            "after": {
                parent.to_user_string(): _mapping(node.partition_mappings.get(parent))
                for parent in sorted(node.parent_keys)
            },
        }
    jobs = {
        job.name: sorted(key.to_user_string() for key in job.asset_layer.selected_asset_keys)
        for job in repository.get_all_jobs()
        if not job.name.startswith("__")
    }
    schedules = {
        item.name: {"cron": item.cron_schedule, "zone": item.execution_timezone, "job": item.job_name}
        for item in repository.schedule_defs
    }
    sensors = {
        item.name: sorted(target.job_name for target in item.targets if target.job_name != "None")
        for item in repository.sensor_defs
    }
    return {"assets": assets, "jobs": jobs, "schedules": schedules, "sensors": sensors}


def _mapping(mapping: Any) -> str:
    if mapping is None:
        return "same partition"
    if isinstance(mapping, dg.TimeWindowPartitionMapping):
        return f"sessions {mapping.start_offset:+d} to {mapping.end_offset:+d}"
    if isinstance(mapping, dg.MultiToSingleDimensionPartitionMapping):
        return "all instruments of the session"
    return type(mapping).__name__


def write(path: Path = SNAPSHOT) -> None:
    """Write the snapshot; read the difference before it is committed."""
    with tempfile.TemporaryDirectory() as folder:
        graph = graph_of(simulated_definitions(Path(folder)))
    path.write_text(json.dumps(graph, indent=1, sort_keys=True) + "\n", encoding="utf-8")


WRITTEN_FOR = date(2026, 1, 5)
"""First session of the root that the snapshot shows."""

if __name__ == "__main__":
    write()
