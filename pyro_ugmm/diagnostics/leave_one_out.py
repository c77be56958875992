"""Leave-one-out cross-validation from draws, and from new ones where these do not tell."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..checks import check, check_flag, check_integer, check_seed
from ..precision import full_precision
from ..programs.entry import check_program, device_of, enter_observed
from ..programs.sites import sites_of
from ..programs.traced import Rows
from .answers import Answers
from .arviz_interface import check_inference_data, group_names, relative_efficiency
from .draws import evaluation
from .importance import good_k, warn_of_held_sites
from .new_draws import NewDraws
from .pointwise import with_one_likelihood
from .row_scores import RowScores, weighted_scores

if TYPE_CHECKING:
    from .arviz_interface import InferenceData

__all__ = ["loo"]


def loo(
    idata: InferenceData,
    model: Callable | None = None,
    x: Any = None,
    y: Any = None,
    *,
    var_name: str | None = None,
    refits: int = 10,
    num_particles: int = 512,
    seed: int | None = None,
    progress: bool = True,
) -> Any:
    r"""Estimates the expected log density of rows left out, from draws of a posterior or a guide.

    Draws :math:`\theta_s` of a guide are weighted, for the row :math:`i`, by

    .. math:: \frac{p(y, \theta_s)}{q(\theta_s) \, p(y_i \mid \theta_s)}

    smoothed by Pareto's distribution; ``arviz.loo`` by itself takes them for draws from the
    posterior, which leaves out :math:`p / q`. Of draws from a posterior this is ``arviz.loo``.

    Where Pareto's k of rows is too high, their values are not to be trusted. Given the model and
    the data, the call mends them: :func:`~pyro_ugmm.sampling.sample_posterior` draws from a mixture
    of the posteriors without these rows, under which weights are bounded, and once more for what is
    left of them, with better shares; what these draws do not tell either is left out row by row,
    those of the highest k first. What has no prior is held where it is.

    Args:
        idata: what :func:`to_inference_data` made, given data.
        model: the model, which may be sampled anew; None to take the draws as they are.
        x: the features, or rows of a mixture, that ``idata`` was made with.
        y: the labels or targets.
        var_name: the observed site whose rows are left out, of a program with rows in several
            plates; by default, all that is observed of a row is left out together.
        refits: the budget: how many rows are left out one by one, at most.
        num_particles: of every run of sampling.
        seed: for these.
        progress: whether to show progress bars.

    Returns:
        ArviZ's ``ELPDData``, row by row: what ``arviz.compare`` and ``arviz.plot_khat`` take. Its
        ``pareto_k`` are those of the final weights, zero of a row that was left out; the coordinate
        ``pareto_k.method`` says of each row which it was: ``"draws"``, ``"mixture"`` or
        ``"refit"``. A warning says which rows are left with a high k; or that the guide holds a
        site at a point, by which all values are off.

    Raises:
        ValueError: if there are no log-likelihoods, or not of the rows of one plate; if the model
            or the data are not those that ``idata`` was made with.

    Source: Magnusson, Andersen, Jonasson and Vehtari (2019), arXiv:1904.10679, for draws of a
    guide; Silva and Zanella (2022), *Robust leave-one-out cross-validation for high-dimensional
    Bayesian models*, for mixtures.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import loo, to_inference_data
        >>> from pyro_ugmm.models import BayesianGaussianMixture
        >>> from pyro_ugmm.sampling import sample_posterior
        >>> x, model = torch.randn(12, 1), BayesianGaussianMixture(1, 1)
        >>> sample = sample_posterior(model, x, seed=0, progress=False)
        >>> found = loo(to_inference_data(model, sample, x), model, x, refits=12, progress=False)
        >>> set(found.pareto_k.method.values) <= {"draws", "mixture", "refit"}
        True
    """
    refits = check_integer("refits", refits, minimum=0)
    num_particles = check_integer("num_particles", num_particles, minimum=8)
    seed, progress = check_seed("seed", seed), check_flag("progress", progress)
    check_inference_data(idata)
    expected = "None with a model, whose rows are left out with all that is observed of them"
    check(model is None or var_name is None, "var_name", expected, var_name)
    idata = _with_rows(idata, var_name)
    terms = _log_likelihood(idata)
    n_samples = len(terms.__sample__)
    check(n_samples > 1, "idata", "two draws or more", "one")
    is_guide = "sample_stats" in group_names(idata) and "log_q" in idata.sample_stats
    is_held = is_guide and warn_of_held_sites(idata)
    scores, limit, reasons = _given(idata, terms, is_guide), good_k(n_samples), []
    if model is not None:
        limit = min(limit, good_k(num_particles))
        options = {"num_particles": num_particles, "seed": seed, "progress": progress}
        rows = _rows_of(idata, terms.isel(__sample__=0).values, model, x, y)
        new = NewDraws(model, rows, np.arange(len(scores.left_out)), options)
        scores, reasons = new.mended(scores, limit, refits), new.reasons
    at = scores.doubtful(limit)
    if len(at):
        remedy = "give loo the model and the data" if model is None else "raise refits"
        reasons.append(
            f"Pareto k of {len(at)} of {len(scores.left_out)} rows is above {limit:.2f}, and their "
            f"values are not to be trusted: {remedy} (rows {', '.join(map(str, at[:8]))}"
            f"{', ...' if len(at) > 8 else ''})"
        )
    for reason in reasons:
        warnings.warn(reason, stacklevel=2)
    like = terms.isel(__sample__=0, drop=True)
    return scores.as_elpd(like, n_samples, is_held or bool(reasons))


def _with_rows(idata: InferenceData, var_name: str | None) -> InferenceData:
    """The draws, with the log-likelihoods of the rows that are left out, and no others."""
    groups = group_names(idata)
    expected = "a group log_likelihood (there is none without data, nor of a score objective)"
    check("log_likelihood" in groups, "idata", expected, f"groups {groups}")
    return with_one_likelihood(idata, var_name)


def _log_likelihood(idata: InferenceData) -> Any:
    """The rows' log-likelihoods, with the draws last."""
    (terms,) = idata.log_likelihood.data_vars.values()
    stacked = terms.astype(float).stack(__sample__=("chain", "draw"))
    return stacked.transpose(..., "__sample__")


def _given(idata: InferenceData, terms: Any, is_guide: bool) -> RowScores:
    """What the draws that there are say."""
    values = terms.values.reshape(-1, terms.shape[-1]).T
    log_ratio, efficiency = np.zeros(len(values)), 1.0
    if is_guide:
        stats = idata.sample_stats
        log_ratio = (stats["log_p"] - stats["log_q"]).values.reshape(-1).astype(float)
    else:
        efficiency = relative_efficiency(idata)
    return weighted_scores(log_ratio, values, np.arange(values.shape[1]), "draws", efficiency)


@full_precision
def _rows_of(idata: InferenceData, terms: np.ndarray, model: Callable, x: Any, y: Any) -> Rows:
    """Takes the data, and checks that the model says of the first draw what ``terms`` are."""
    check_program(model)
    given, draw = idata.posterior, {}
    with evaluation(model, None):
        rows = enter_observed(model, x, y, "labels or targets, with x")
        for name, site in sites_of(model, rows).latent_sites().items():
            shape = tuple(given[name].shape[2:]) if name in given else None
            expected = f"the one of idata, with sites {[*given.data_vars]} as there"
            got = f"one with {name} of shape {tuple(site.shape)}"
            check(shape == tuple(site.shape), "model", expected, got)
            draw[name] = torch.as_tensor(given[name].values[0, :1]).to(device_of(model))
        found = Answers(model, rows).row_terms(draw)[0]
    expected = f"the data of idata, {terms.size} rows"
    check(terms.shape == found.shape, "x", expected, f"{len(found)} rows")
    same = np.allclose(found, terms, rtol=1e-3, atol=1e-2)
    check(same, "x, y", "the data of idata, row by row", "others, by the log-likelihood of a draw")
    return rows
