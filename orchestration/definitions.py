"""The Dagster code location: ``defs`` of the data root named by ``FLOWSENSE_ROOT``, else of ``var/simulated``.

Processes that run steps load it, so this is also where they are told not to wait for the disk with Dagster's history.
"""

from marketdata.paths import default_root
from orchestration.initialise import ensure_initialised
from orchestration.instance import relax_history
from orchestration.location import build_definitions

_root = ensure_initialised(default_root())
relax_history(_root)

defs = build_definitions(_root)
