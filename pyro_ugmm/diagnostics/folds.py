"""Cross-validation by folds, of whatever inference."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import check, check_flag, check_integer, check_seed, kind_of
from ..precision import full_precision
from ..programs.entry import as_entered, check_program, enter_observed
from ..programs.parameters import misfit
from ..programs.sites import sites_of
from ..programs.traced import Rows
from ..progress_bars import progress_bar
from ..randomness import generator_for, seeded
from ..status import Status
from ..tables import as_vector
from ..training import fit_svi
from .answers import Answers
from .draws import evaluation, posterior_draws
from .importance import good_k
from .left_out import rows_of
from .new_draws import NewDraws
from .row_scores import RowScores, log_mean

__all__ = ["kfold"]

_OF_SAMPLING = {"num_particles": 1024, "draws_per_particle": 4}  # each fold has its share


@full_precision
def kfold(
    model: Callable,
    make_guide: Callable[[Any], Callable] | None,
    x: Any,
    y: Any = None,
    folds: Any = 10,
    seed: int | None = 0,
    *,
    num_samples: int = 1000,
    progress: bool = True,
    **options: Any,
) -> Any:
    r"""Estimates the expected log density of rows by folds: fitted without, and asked of them.

    .. math:: \sum_i \log p(y_i \mid y_{-f(i)}), \qquad
        p(y_i \mid y_{-f}) = \mathbb{E}_{q_f(\theta)} \, p(y_i \mid \theta)

    With guides, one is fitted for each fold, one after the other, and its own predictions are
    judged: no weights are needed, and none can fail. Without, it is the posterior's, by sequential
    Monte Carlo, of all folds at once: where the draws given all rows do not tell of a fold, by
    Pareto's k of their weights, from one mixture of the posteriors without each fold, as in
    :func:`loo`; a fold of which these do not tell either is left out by itself. What has no prior
    is learned with a guide, and held where it is by sampling.

    Args:
        model: the model, which is not changed.
        make_guide: makes a guide of a copy of the model, such as
            :func:`pyro_ugmm.guides.mean_field`, which :func:`~pyro_ugmm.training.fit_svi` fits;
            None for the posterior by :func:`~pyro_ugmm.sampling.sample_posterior`.
        x: features, or the rows of a mixture, shape ``(n, K)``.
        y: labels or targets, shape ``(n,)``, for a model that takes them.
        folds: how many, of equal sizes at random; or the fold of each row, shape ``(n,)``,
            integers from zero. Labels, which are what is observed in integers, have their shares in
            all of a number of folds.
        seed: for the folds and the fits.
        num_samples: the number of draws from each guide.
        progress: whether to show a progress bar (on runs of more than a second).
        **options: of ``fit_svi``, or of ``sample_posterior``, whose ``num_particles`` are 1,024
            here.

    Returns:
        ArviZ's ``ELPDData``, for ``arviz.compare``, under the names of LOO; compare models by the
        same folds. ``pareto_k.method`` says of each row ``"guide"``, ``"draws"``, ``"mixture"`` or
        ``"refit"``. Of guides, ``p`` rests on the fits that have seen a row. A warning says
        which fits broke down or did not converge.

    Raises:
        ValueError: if the data do not fit the model, it has no likelihood, there are fewer rows
            than folds, a fold is empty, or the rows outside of one miss a label.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import kfold
        >>> from pyro_ugmm.guides import mean_field
        >>> from pyro_ugmm.models import BayesianGaussianMixture, Priors
        >>> x = torch.cat([torch.randn(20, 1) - 3, torch.randn(20, 1) + 3])
        >>> model = BayesianGaussianMixture(2, 1, priors=Priors.from_data(x))
        >>> found = kfold(model, mean_field, x, folds=4, steps=50, progress=False)
        >>> found.n_data_points
        40
    """
    check_program(model)
    is_guide = hasattr(make_guide, "prototype_trace")
    makes_one = callable(make_guide) and not is_guide and misfit(make_guide, 1) is None
    is_one = make_guide is None or makes_one
    expected = "a function that makes a guide of a model, such as mean_field, or None"
    check(is_one, "make_guide", expected, kind_of(make_guide))
    num_samples, seed = check_integer("num_samples", num_samples), check_seed("seed", seed)
    options = {"seed": seed, "progress": check_flag("progress", progress), **options}
    with evaluation(model, 0):
        rows = enter_observed(model, x, y, "labels or targets, with x")
        answers = Answers(model, rows)
        expected = "one with a likelihood (objective='conditional' has one)"
        check(answers.joint.has_likelihood, "model", expected, "objective='score', which is none")
        sites = sites_of(model, rows).latent_sites()
        expected = "a model with priors"
        check(sites, "model", expected, "one without, which leaves nothing to infer")
        n_rows = answers.row_terms(answers.prior(1)).shape[1]
        groups = _folds_of(folds, torch.as_tensor(next(iter(answers.observed().values()))), seed)
        if make_guide is not None:
            _check_refits(model, rows, groups == 0)
    if make_guide is None:
        options = {**_OF_SAMPLING, **options}
        num_samples = math.prod(options[name] for name in _OF_SAMPLING)
        new = NewDraws(model, rows, groups, options)
        scores, reasons = new.mended(new.of_all(), good_k(num_samples), len(groups)), new.reasons
    else:
        fits = _Fits(model, make_guide, rows, groups, num_samples, options)
        scores, reasons = fits.scores(), fits.reasons
    for reason in reasons:
        warnings.warn(reason, stacklevel=3)
    return scores.as_elpd(_named(answers, n_rows), num_samples, bool(reasons))


def _named(answers: Answers, n_rows: int) -> Any:
    """An array of rows under their name."""
    from xarray import DataArray

    first = next(iter(answers.observed()))
    return DataArray(np.zeros(n_rows), dims=answers.names.dims()[first][:1])


def _check_refits(model: Callable, rows: Rows, left_out: np.ndarray) -> None:
    """Checks that a guide can be fitted to the other rows, and asked of those left out."""
    rest = rows_of(rows, ~left_out)
    is_fewer = any(
        len(some) < len(part) for some, part in zip(rest, rows, strict=True) if some is not part
    )
    expected = f"None, or a model one of whose arguments has the {len(left_out)} rows"
    check(is_fewer, "make_guide", expected, "one that holds them itself")
    sites, others = (sites_of(model, some).latent_sites() for some in (rows, rest))
    own = [name for name, site in sites.items() if site.shape != others[name].shape]
    expected = f"None (sampling), as a guide fitted to other rows has no values of {own} for these"
    check(not own, "make_guide", expected, "a function")


def _folds_of(folds: Any, observed: Tensor, seed: int | None) -> np.ndarray:
    """The fold of each row, shape ``(n,)``, where all others have seen every label."""
    n_rows, labels = len(observed), observed.cpu()
    has_labels = labels.dim() == 1 and not labels.is_floating_point()
    if getattr(folds, "ndim", 0) or isinstance(folds, list | tuple):
        found = as_vector("folds", folds).cpu()
        expected = f"the fold of each of {n_rows} rows, integers from 0 on, two folds or more"
        is_one = found.shape == (n_rows,) and not found.is_floating_point()
        check(is_one, "folds", expected, f"shape {tuple(found.shape)} of {found.dtype}")
        seen = found.unique().tolist()
        check(seen == [*range(max(len(seen), 2))], "folds", expected, f"folds {seen}")
    else:
        count = check_integer("folds", folds, minimum=2)
        check(count <= n_rows, "folds", f"at most as many as the {n_rows} rows", count)
        order = torch.randperm(n_rows, generator=generator_for(seed, "cpu"))
        order = order[labels[order].argsort(stable=True)] if has_labels else order
        found = torch.empty(n_rows, dtype=torch.long)
        found[order] = torch.arange(n_rows) % count
    for label in labels.unique().tolist() if has_labels else ():
        holding = found[labels == label].unique().tolist()
        expected = f"rows of label {label} in two folds or more, so that every fit sees one"
        check(len(holding) > 1, "folds", expected, f"all of them in fold {holding[0]}")
    return found.numpy()


class _Fits:
    """Guides fitted without each fold.

    Attributes:
        reasons: how fits ended that broke down, in words.
    """

    def __init__(
        self,
        model: Callable,
        make_guide: Callable,
        rows: Rows,
        groups: np.ndarray,
        num_samples: int,
        options: dict[str, Any],
    ) -> None:
        self._model, self._make_guide, self._rows, self._groups = model, make_guide, rows, groups
        self._num_samples, self._options = num_samples, options
        self.reasons: list[str] = []

    def scores(self) -> RowScores:
        """Scores all rows, with those in the place of seen ones that other fits have seen."""
        n_folds = self._groups.max() + 1
        folds = progress_bar(range(n_folds), desc="folds", shown=self._options["progress"])
        of_fits = np.stack([self._scores_without(fold) for fold in folds])
        is_left_out = self._groups == np.arange(n_folds)[:, None]
        left_out = of_fits[self._groups, np.arange(len(self._groups))]
        fitted = np.where(is_left_out, 0.0, of_fits).sum(0) / (n_folds - 1)
        method = np.full(len(left_out), "guide")
        return RowScores(left_out, fitted, np.zeros(len(left_out)), method)

    def _scores_without(self, fold: int) -> np.ndarray:
        """The log densities of all rows, by a guide that has not seen those of a fold."""
        rest = rows_of(self._rows, self._groups != fold)
        model = copy.deepcopy(self._model)
        with seeded(self._options["seed"]):
            guide = self._make_guide(model)
        result = fit_svi(
            model, guide, *as_entered(model, rest), **{**self._options, "progress": False}
        )
        if result.interrupted:
            raise KeyboardInterrupt
        if result.status is Status.BROKEN_DOWN:
            self.reasons.append(f"without fold {fold}: {result.reason}")
        with evaluation(model, self._options["seed"]):
            drawn = posterior_draws(result.model, result.guide, self._num_samples, rest)
            terms = Answers(result.model, self._rows).row_terms(drawn.values)
        return log_mean(terms.astype(float))
