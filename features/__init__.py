"""Floor 1, what we know at t: feature kernels, sampling, pipeline, labels, signals, dataset, catalogue."""

import marketdata as marketdata
