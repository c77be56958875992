"""The log densities of rows that were left out, with how far each is to be trusted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .arviz_interface import elpd_data, smoothed_weights
from .importance import good_k

__all__ = ["RowScores", "log_mean", "weighted_scores"]


@dataclass(frozen=True, eq=False)
class RowScores:
    """What is known of each row, each of shape ``(n,)`` but the last.

    Attributes:
        left_out: the log density of the row under the posterior without it, and its group.
        fitted: the same under the posterior that has seen it.
        pareto_k: of the weights by which the first was found; zero where there were none.
        method: by which it was found, in a word.
        fitted_k: Pareto's k of the weights by which all of ``fitted`` were found.
    """

    left_out: np.ndarray
    fitted: np.ndarray
    pareto_k: np.ndarray
    method: np.ndarray
    fitted_k: float = 0.0

    def doubtful(self, limit: float) -> np.ndarray:
        """The rows of which the weights do not tell, those of the highest Pareto k first."""
        at = np.flatnonzero(~((self.pareto_k <= limit) & np.isfinite(self.left_out)))
        return at[np.argsort(-np.nan_to_num(self.pareto_k[at], nan=np.inf), kind="stable")]

    def put(self, at: np.ndarray, left_out: Any, pareto_k: Any, method: str) -> RowScores:
        """Returns the scores with others in the place of some rows."""
        given = {"left_out": left_out, "pareto_k": pareto_k, "method": method}
        parts = {name: getattr(self, name).astype(object) for name in given}
        for name, value in given.items():
            parts[name][at] = value
        kinds = {"left_out": float, "pareto_k": float, "method": str}
        return replace(self, **{name: parts[name].astype(kind) for name, kind in kinds.items()})

    def as_elpd(self, rows: Any, n_samples: int, is_doubtful: bool) -> Any:
        """ArviZ's ``ELPDData``.

        Args:
            rows: an xarray ``DataArray`` of one value for each row, for their names.
            n_samples: how many draws the scores come from.
            is_doubtful: whether there was a warning.
        """
        left_out, pareto_k = (
            rows.copy(data=part.reshape(rows.shape)) for part in (self.left_out, self.pareto_k)
        )
        method = (rows.dims, self.method.reshape(rows.shape))
        return elpd_data(
            {
                "p": float(self.fitted.sum() - self.left_out.sum()),
                "n_samples": n_samples,
                "n_data_points": self.left_out.size,
                "warning": is_doubtful,
                "elpd_i": left_out.rename("elpd_i"),
                "pareto_k": pareto_k.rename("pareto_k").assign_coords(method=method),
                "scale": "log",
                "good_k": good_k(n_samples),
            }
        )


def log_mean(values: np.ndarray) -> np.ndarray:
    """The logarithm of the mean of numbers ``(S, n)`` whose logarithms are given, ``(n,)``."""
    return np.logaddexp.reduce(values, 0) - np.log(len(values))


def weighted_scores(
    log_ratio: np.ndarray,
    terms: np.ndarray,
    groups: np.ndarray,
    method: str,
    efficiency: float = 1.0,
) -> RowScores:
    r"""Scores of rows from draws of a density :math:`q` that is not the posterior.

    A draw's weight for the rows of a group :math:`g` is :math:`p / (q \, p(y_g \mid \theta))`,
    smoothed.

    Args:
        log_ratio: :math:`\log p(y, \theta) / q(\theta)` of draws, shape ``(S,)``.
        terms: the rows' log-likelihoods, shape ``(S, n)``.
        groups: the rows' groups, shape ``(n,)``: integers from zero.
        method: what the draws are, in a word.
        efficiency: how many independent draws one is worth.
    """
    of_groups = np.zeros((groups.max() + 1, len(terms)))
    np.add.at(of_groups, groups, terms.T)
    weights, pareto_k = smoothed_weights(log_ratio - of_groups, efficiency)
    of_posterior, fitted_k = smoothed_weights(log_ratio)
    left_out = np.logaddexp.reduce(terms.T + weights[groups], -1)
    fitted = np.logaddexp.reduce(terms.T + of_posterior, -1)
    method_of_rows = np.full(len(groups), method)
    return RowScores(left_out, fitted, pareto_k[groups], method_of_rows, float(fitted_k))
