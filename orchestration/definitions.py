"""The Dagster code location: ``defs`` of the data root named by ``FLOWSENSE_ROOT``, else of ``var/simulated``."""

from marketdata.paths import default_root
from orchestration.initialise import ensure_initialised
from orchestration.location import build_definitions

defs = build_definitions(ensure_initialised(default_root()))
