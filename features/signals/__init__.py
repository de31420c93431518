"""Slow signals: options, social and on-chain data as values with the time at which each was known."""
