"""Floor 2, what we believe: forecasters, training, splits, evaluation, statistics, gate, tracking, bundle, registry."""

import marketdata as marketdata
