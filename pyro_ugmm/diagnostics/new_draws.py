"""New draws for rows left out, of which those that there are do not tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..precision import full_precision
from ..programs.entry import as_entered
from ..programs.traced import Rows
from ..progress_bars import progress_bar
from ..sampling import PosteriorSample, sample_posterior
from .answers import Answers
from .draws import evaluation
from .left_out import MixtureOfLeftOut, WithoutRows
from .row_scores import RowScores, log_mean, weighted_scores

__all__ = ["NewDraws"]

_MIXTURES = 2


class NewDraws:
    """Draws from posteriors without groups of rows, by sequential Monte Carlo.

    Args:
        model: the model.
        rows: its data, that entered.
        groups: the rows' groups, shape ``(n,)``: integers from zero.
        options: of :func:`~pyro_ugmm.sampling.sample_posterior`.

    Attributes:
        reasons: how runs ended that did not converge, in words.
    """

    def __init__(
        self, model: Callable, rows: Rows, groups: np.ndarray, options: Mapping[str, Any]
    ) -> None:
        self._model, self._rows, self._groups = model, rows, groups
        self._options = dict(options)
        self.reasons: list[str] = []

    def of_all(self) -> RowScores:
        """Scores all rows by draws from the posterior that has seen them."""
        terms = self._terms(self._sample(self._model, "all rows"))
        scores = weighted_scores(np.zeros(len(terms)), terms, self._groups, "draws")
        return replace(scores, fitted_k=0.0)

    def mended(self, scores: RowScores, limit: float, most: int) -> RowScores:
        """Scores anew what is doubtful: by mixtures, and then one by one, so many at most.

        The second mixture has its shares from what the first said.
        """
        for _ in range(_MIXTURES):
            scores = self._by_mixture(scores, self._doubtful(scores, limit))
        return self._by_refits(scores, self._doubtful(scores, limit)[:most])

    def _doubtful(self, scores: RowScores, limit: float) -> list[int]:
        return list(dict.fromkeys(self._groups[scores.doubtful(limit)].tolist()))

    def _by_mixture(self, scores: RowScores, doubtful: list[int]) -> RowScores:
        """Scores groups by draws from one mixture of the posteriors without each."""
        if not doubtful:
            return scores
        finite = np.isfinite(scores.left_out)
        known = np.where(finite, scores.left_out, scores.left_out[finite].min(initial=0.0))
        codes = np.full(self._groups.max() + 1, len(doubtful))
        codes[doubtful] = np.arange(len(doubtful))
        codes = codes[self._groups]
        log_alpha = np.bincount(codes, known, len(doubtful) + 1)[:-1]
        mixture = MixtureOfLeftOut(self._model, self._rows, codes, log_alpha)
        terms = self._terms(self._sample(mixture, "the mixture without rows"))
        log_ratio = -mixture.log_gain(torch.as_tensor(terms)).numpy()
        found = weighted_scores(log_ratio, terms, self._groups, "mixture")
        at = codes < len(doubtful)
        if found.fitted_k < scores.fitted_k:
            scores = replace(scores, fitted=found.fitted, fitted_k=found.fitted_k)
        return scores.put(at, found.left_out[at], found.pareto_k[at], "mixture")

    def _by_refits(self, scores: RowScores, doubtful: list[int]) -> RowScores:
        """Scores groups by the posterior without each, one after the other."""
        shown = self._options["progress"]
        for group in progress_bar(doubtful, desc="leaving rows out", shown=shown):
            at = self._groups == group
            rest = WithoutRows(self._model, self._rows, at)
            sample = self._sample(rest, f"without the rows {np.flatnonzero(at)}")
            scores = scores.put(at, log_mean(self._terms(sample)[:, at]), 0.0, "refit")
        return scores

    def _sample(self, model: Callable, what: str) -> PosteriorSample:
        sample = sample_posterior(model, *as_entered(model, self._rows), **self._options)
        if sample.interrupted:
            raise KeyboardInterrupt
        if not sample.converged:
            self.reasons.append(f"{what}: {sample.reason}")
        return sample

    @full_precision
    def _terms(self, sample: PosteriorSample) -> np.ndarray:
        with evaluation(self._model, None):
            return Answers(self._model, self._rows).row_terms(sample.draws).astype(float)
