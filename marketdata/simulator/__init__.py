"""The simulated market: the offline demo, the control worlds, the load generator and the ground truth.

Import from :mod:`marketdata.simulator.session` and :mod:`marketdata.simulator.truth`; this package imports nothing by itself, so
that naming it costs nothing.
"""
