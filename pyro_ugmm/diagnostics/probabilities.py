"""Class probabilities under the posterior."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from pyro.infer import MCMC
from torch import Tensor

from ..checks import check, check_integer
from ..ensemble import Ensemble
from ..models.label_model import LabelModel
from ..nn.mode import training_mode
from ..optimization.result import FitResult
from ..precision import full_precision
from ..programs.entry import enter
from ..sampling import PosteriorSample
from .draws import evaluation, in_blocks, posterior_draws

__all__ = ["class_probabilities", "fit_probabilities"]


@full_precision
def class_probabilities(
    model: LabelModel,
    inference: Callable | Ensemble | PosteriorSample | MCMC | None,
    x: Any,
    num_samples: int = 500,
    seed: int | None = None,
) -> Tensor:
    r"""Evaluates the class probabilities of each row under each draw from the posterior.

    Their mean over the draws, :math:`\mathbb{E}[p(y \mid x, \theta)]`, is the posterior
    predictive; their spread is the part of its uncertainty that more data would remove.

    Args:
        model: the model.
        inference: its fitted guide, a sample of its posterior, or MCMC that was run; or the
            ensemble of several starts, whose guides have shares of the draws by their weights; or
            None for a model without priors, as one draw.
        x: features, shape ``(n, K)``.
        num_samples: the number of draws ``S`` from a guide, or the guides of an ensemble; of one
            fitted by maximum likelihood ``S`` is the number of its models.
        seed: for the draws; torch's generator is used, and left alone if given.

    Returns:
        Probabilities, shape ``(S, n, C)``, on the CPU; NaN in rows whose scores overflow.

    Raises:
        ValueError: if the model is not a network's, the features do not fit it, or the inference
            misses one of its sites.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import class_probabilities
        >>> from pyro_ugmm.guides import mean_field
        >>> from pyro_ugmm.models import Priors, UGMMClassifier
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> model = UGMMClassifier(UGMMNetwork([2, 4, 3]), Priors())
        >>> class_probabilities(model, mean_field(model), torch.randn(10, 2), num_samples=5).shape
        torch.Size([5, 10, 3])
    """
    expected = "a network's, UGMMClassifier or UGMMDensity"
    check(isinstance(model, LabelModel), "model", expected, type(model).__name__)
    (x,) = enter(model, x)
    num_samples = check_integer("num_samples", num_samples)
    with evaluation(model, seed):
        if isinstance(inference, Ensemble):
            shares = inference.shares(num_samples)
            return torch.cat([fit_probabilities(fit, x, count) for fit, count in shares])
        if inference is None:
            sites = [*model.site_distributions()]
            expected = "a fitted guide or a sample, as the model has priors"
            check(not sites, "inference", expected, "None")
            return _of_itself(model, x)
        return _of_draws(model, inference, x, num_samples)


def _of_itself(model: LabelModel, x: Tensor) -> Tensor:
    """Those of a model without priors, as one draw."""
    with training_mode(model, False), torch.no_grad():
        return model.class_probabilities(x, {}).unsqueeze(0).cpu()


def _of_draws(model: Any, inference: Any, x: Tensor, num_samples: int) -> Tensor:
    draws = posterior_draws(model, inference, num_samples, (x,)).values
    size = len(x) * model.values_per_row
    return torch.from_numpy(in_blocks(partial(model.class_probabilities, x), draws, size))


def fit_probabilities(fit: FitResult, x: Tensor, num_samples: int) -> Tensor:
    """Those under draws of a fit's guide, ``(S, n, C)``; of a fit without one its own, as one."""
    with training_mode(fit.model, False):
        if fit.guide is None:
            return _of_itself(fit.model, x)
        return _of_draws(fit.model, fit.guide, x, num_samples)
