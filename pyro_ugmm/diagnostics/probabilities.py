"""Class probabilities under the posterior."""

from collections.abc import Callable
from typing import Any

import torch
from pyro.infer import MCMC
from torch import Tensor

from ..checks import check
from ..models.network_model import NetworkModel
from ..precision import full_precision
from ..programs.entry import enter
from ..sampling import PosteriorSample
from .draws import evaluation, in_blocks, posterior_draws

__all__ = ["class_probabilities"]


@full_precision
def class_probabilities(
    model: NetworkModel,
    inference: Callable | PosteriorSample | MCMC,
    x: Any,
    num_samples: int = 500,
    seed: int | None = None,
) -> Tensor:
    r"""Evaluates the class probabilities of each row under each draw from the posterior.

    Their mean over the draws, :math:`\mathbb{E}[p(y \mid x, \theta)]`, is the posterior
    predictive; their spread is the part of its uncertainty that more data would remove.

    Args:
        model: the model.
        inference: its fitted guide, a sample of its posterior, or MCMC that was run.
        x: features, shape ``(n, K)``.
        num_samples: the number of draws ``S`` from a guide.
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
    check(isinstance(model, NetworkModel), "model", expected, type(model).__name__)
    (x,) = enter(model, x)
    with evaluation(model, seed):
        draws = posterior_draws(model, inference, num_samples, (x,))
        probabilities = in_blocks(
            lambda values: model.class_probabilities(x, values),
            draws.values,
            len(x) * model.values_per_row,
        )
    return torch.from_numpy(probabilities)
