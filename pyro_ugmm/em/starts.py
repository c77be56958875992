"""What a mixture has to be for EM to start from it."""

from typing import Any

import torch

from ..checks import check, check_floating
from ..distributions import GaussianMixture

__all__ = ["checked_start"]

_MOST_CHANGED = 1e-2


def checked_start(name: str, mixture: Any, missing: str | None = None) -> GaussianMixture:
    """Detaches a mixture of batch shape ``()`` or ``(S,)``.

    A covariance that is singular but for rounding is raised, as after an M-step.

    Args:
        name: of the argument.
        mixture: what was given.
        missing: what NaN means, if not what it means to the mixture.

    Raises:
        ValueError: if it is none, has more dimensions, or parameters that are not finite or not
            positive definite.
    """
    expected = "a GaussianMixture, such as initialize(x, n_components) makes"
    check(isinstance(mixture, GaussianMixture), name, expected, type(mixture).__name__)
    shape = tuple(mixture.batch_shape)
    check(len(shape) <= 1, name, "batch shape () or (S,), one for each restart", shape)
    check_floating(name, mixture.means)
    dtype = mixture.means.dtype
    check(dtype in (torch.float32, torch.float64), name, "float32 or float64", dtype)
    start = mixture.expand(shape).reindex(torch.Tensor.detach)
    parameters = start.weights, start.means, *start.covariance.tensors().values()
    finite = all(tensor.isfinite().all() for tensor in parameters)
    check(finite, name, "finite parameters", "some that are not")
    covariance, _ = start.covariance.regularized(0.0)
    expected = "positive definite covariances"
    is_sound = start.covariance.relative_change(covariance) < _MOST_CHANGED
    check(is_sound, name, expected, "some that are not, beyond rounding")
    return start.with_covariance(covariance, missing or mixture.missing)
