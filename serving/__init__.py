"""Floor 4, live: predictor, API, paper executor."""

import marketdata as marketdata
