"""Floor 4, replay: backtests, screens, control worlds, reports."""

import marketdata as marketdata
