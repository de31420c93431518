"""The model confidence set: which models cannot be told from the best one, by the data there is.

The gate asks whether *one* candidate beats each benchmark. This asks the other question: of all that was tried, what
would a reader still have to take seriously? With little data the set is nearly everything, and that is the answer.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ConfidenceSet:
    """The model confidence sets of all sizes at once.

    Attributes
    ----------
    p_value : float64 array, shape (K,)
        The model is in the set of confidence 1 − α for every α below this. The best model's is 1.
    order : tuple of int
        Models in the order in which they were eliminated, the last one stayed.
    """

    p_value: Float64
    order: tuple[int, ...]

    def included(self, level: float) -> npt.NDArray[np.bool_]:
        """Return which models are in the set of this confidence level (0.9: the best is in it 90 times in 100)."""
        return np.asarray(self.p_value > 1.0 - level)


def model_confidence_set(mean: Float64, resampled: Float64) -> ConfidenceSet:
    """Return the model confidence set by the range statistic, eliminating the model that is furthest behind.

    Parameters
    ----------
    mean : float64 array, shape (K,)
        Sample mean of each model's loss (smaller is better), on one clock.
    resampled : float64 array, shape (R, K)
        Bootstrap means of the *centred* losses under shared blocks (:func:`models.bootstrap.bootstrap_means`).

    Returns
    -------
    ConfidenceSet
        P-values count the sample itself as one replication. Two models with the same series are never told apart.

    Raises
    ------
    ValueError
        If there is no model, or the shapes do not belong together.

    References
    ----------
    Hansen, Lunde, Nason (2011). The model confidence set. Econometrica 79(2), section 3.1.2 (T_R and its elimination
    rule); step p-values accumulate by their maximum (section 2.3).
    """
    k = len(mean)
    if k == 0 or resampled.ndim != 2 or resampled.shape[1] != k:
        raise ValueError(f"{k} means and resampled means of shape {resampled.shape} are no set of models")
    scale = np.zeros((k, k))
    for i in range(k):
        scale[i] = np.sqrt(np.mean((resampled[:, [i]] - resampled) ** 2, axis=0))
    behind = mean[:, None] - mean[None, :]
    told = scale > 1e-9 * np.abs(behind)
    safe = np.where(told, scale, 1.0)
    statistic = np.where(told, behind / safe, 0.0)
    inside = list(range(k))
    order: list[int] = []
    p_value = np.ones(k)
    largest = 0.0
    while len(inside) > 1:
        kept = np.array(inside)
        own = statistic[np.ix_(kept, kept)]
        reached = np.zeros(len(resampled))
        for i in kept:
            null = np.where(told[i, kept], (resampled[:, [i]] - resampled[:, kept]) / safe[i, kept], 0.0)
            np.maximum(reached, null.max(axis=1), out=reached)
        largest = max(largest, float((1.0 + np.sum(reached >= own.max())) / (1.0 + len(resampled))))
        worst = int(kept[int(np.argmax(own.max(axis=1)))])
        p_value[worst] = largest
        order.append(worst)
        inside.remove(worst)
    return ConfidenceSet(p_value, (*order, *inside))
