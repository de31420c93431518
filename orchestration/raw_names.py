"""Names of the raw assets of slow data."""

from typing import Final

RAW_OF: Final = {"options": "options_chains", "social": "social_posts", "onchain": "onchain_transfers"}
"""Raw asset of each kind of slow signal."""
