"""Floor 5, when it runs: Dagster assets, checks, jobs, schedules, sensors, resources, and the command line."""

import marketdata as marketdata
