"""The words of the page that need a footnote, each in a sentence or two."""

from typing import Final

GLOSSARY: Final[dict[str, str]] = {
    "MCC": "Matthews correlation over the three classes: 0 is luck, 1 is perfect; not fooled by a large flat class.",
    "balanced accuracy": "Mean of the three classes' recalls; 0.333 is what luck gives.",
    "macro-F1": "Mean of the three classes' F1 scores.",
    "log loss": (
        "Mean of −ln(probability given to what happened), in nats; ln 3 = 1.099 is the uniform forecast. Lower is "
        "better."
    ),
    "ECE": (
        "Expected calibration error: mean distance between forecast probability and observed frequency, weighted by "
        "rows."
    ),
    "net P&L": (
        "Profit after fees and after crossing the spread, at the quotes that were there when the order arrived."
    ),
    "net bps": "Mean net profit of a round trip in hundredths of a per cent of its value.",
    "round trip": "From flat to a position and back to flat.",
    "baseline": (
        "A forecaster without a model of the market: majority class, persistence of the last known label, sign of the "
        "last trade, queue-imbalance logit, time of day only. A candidate has to beat every one of them."
    ),
    "SPA": (
        "Hansen's test of superior predictive ability: the chance that the best of all candidates looks this good by "
        "luck, from a stationary bootstrap of time blocks shared by all instruments."
    ),
    "PSR": "Probability that the true Sharpe ratio is above zero, given the returns' skewness and kurtosis.",
    "DSR": (
        "Deflated Sharpe ratio: the same probability against the best Sharpe ratio that so many trials give by luck. Trials that "
        "differ in earnest count as luck there, so with models of unlike skill it is low for the best of them as well."
    ),
    "trials": (
        "Distinct configurations that were ever tried on this root, counted in an append-only ledger before each fit."
    ),
    "PBO": (
        "Probability of backtest overfitting: how often the best configuration in one half of the blocks is below the "
        "median in the other half."
    ),
    "Sharpe": "Mean net P&L per period over its standard deviation; not annualised, the period is stated beside it.",
    "shadow": "The best candidate trades on paper without being champion: its P&L is never counted as a champion's.",
    "N0": (
        "The night's own tape with every forecast shifted in time: nothing can be known, only evaluation and gate "
        "rerun."
    ),
    "N1": "A simulated world in which nothing pays after costs, certified by an oracle on a ten times longer run.",
    "N2": "A simulated world whose slow signals say nothing about a market that does have a tick signal.",
    "planted": (
        "A simulated world in which an oracle earns the stated number of median spreads a round trip after fees."
    ),
    "gate size": "How often the gate promotes where nothing should be promoted; measured, not assumed.",
    "markout": "How far the mid moved in our favour some time after a fill, from the executed price.",
    "confidence set": (
        "The models that cannot be told from the best one by this data (Hansen, Lunde, Nason): the best is among them nine "
        "times in ten."
    ),
    "band": (
        "The same forecasts and strategy in the engine under several queue models and latencies; the worst one decides."
    ),
    "drawdown": "Distance of the equity below its highest value so far.",
    "parity": (
        "The executor's feature rows equal the night's, and replaying its journal gives the same fills, bit for bit."
    ),
    "PSI": (
        "Population stability index of the night's session over the deciles of the sessions before it: below 0.1 stable, "
        "0.25 and more drifted."
    ),
    "drift, sd": "Wasserstein distance between the same two, in standard deviations of the sessions before.",
    "quarantine": "A partition whose audit failed is kept with its reasons and cannot be opened by any later step.",
    "walk-forward": "Every row is forecast by a model that was fitted only on rows whose labels were known before.",
    "IC": (
        "Information coefficient: Spearman's rank correlation between a feature and the move that the label measures; 0 is "
        "no relation."
    ),
    "q-value": (
        "Smallest share of false discoveries at which a feature would count as one, over all features together: BH "
        "(Benjamini-Hochberg) where tests depend little on each other, BY (Benjamini-Yekutieli) for any dependence."
    ),
    "persistence": "A forecast that repeats the last label that was known when the row was taken.",
}
