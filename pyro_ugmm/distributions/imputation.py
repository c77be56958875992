"""Missing entries of rows, filled in from what was observed of them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import check, check_floating, check_integer, check_same_kind, check_values
from .multivariate import GaussianMixture

__all__ = ["impute"]


@torch.no_grad()
def impute(
    mixture: GaussianMixture, x: Any, num_samples: int | None = None, seed: int | None = None
) -> Tensor:
    r"""Fills NaN in rows with conditional means, or with draws, given what was observed.

    .. math:: \mathbb{E}[x_{\mathrm{missing}} \mid x_{\mathrm{observed}}] \qquad\text{or}\qquad
        x_{\mathrm{missing}} \sim p(x_{\mathrm{missing}} \mid x_{\mathrm{observed}})

    A mean is the best guess of one entry, by squared error. Several draws of the whole table keep
    what is uncertain about it: do what is to be done with each, and compare (Rubin 1987, *Multiple
    imputation for nonresponse in surveys*).

    Args:
        mixture: one mixture, such as EM fits to the same rows by ``missing="marginalize"``.
        x: rows, shape ``(n, D)``, a tensor or what NumPy takes for an array, such as a data frame;
            NaN where nothing was observed.
        num_samples: how many draws; conditional means if None.
        seed: for the draws; torch's generator is used, and left alone if given.

    Returns:
        Rows without NaN, shape ``(n, D)``; or draws of them, ``(num_samples, n, D)``.

    Raises:
        ValueError: if the rows do not fit the mixture, or an entry is infinite.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import FullCovariance, GaussianMixture, impute
        >>> covariance = FullCovariance(torch.tensor([[[1.0, 0.8], [0.8, 1.0]]]))
        >>> mixture = GaussianMixture(torch.ones(1), torch.zeros(1, 2), covariance)
        >>> impute(mixture, torch.tensor([[2.0, torch.nan], [1.0, 1.0]]))
        tensor([[2.0000, 1.6000],
                [1.0000, 1.0000]])
    """
    is_mixture = isinstance(mixture, GaussianMixture)
    check(is_mixture, "mixture", "a GaussianMixture", type(mixture).__name__)
    check(not mixture.batch_shape, "mixture", "one mixture", f"a batch {mixture.batch_shape}")
    if not isinstance(x, Tensor):
        x = torch.as_tensor(np.asarray(x, dtype=float)).to(mixture.means)
    check_floating("x", x)
    n_features = mixture.n_features
    fits = x.dim() == 2 and x.shape[1] == n_features
    check(fits, "x", f"shape (n, {n_features})", tuple(x.shape))
    check_same_kind({"the mixture": mixture.means, "x": x})
    check_values("x", x, ~x.isinf(), "finite values, or NaN")
    if num_samples is not None:
        check_integer("num_samples", num_samples)
    filled = x.clone() if num_samples is None else x.repeat(num_samples, 1, 1)
    patterns, which = x.isnan().unique(dim=0, return_inverse=True)
    with torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        for i, missing in enumerate(patterns):
            rows, dims = (which == i).nonzero()[:, 0], missing.nonzero()[:, 0]
            if len(dims):
                found = _fill(mixture, x[rows], missing.tolist(), num_samples)
                filled[..., rows.unsqueeze(1), dims] = found
    return filled


def _fill(
    mixture: GaussianMixture, x: Tensor, missing: list[bool], num_samples: int | None
) -> Tensor:
    """What is missing of rows that miss the same dimensions."""
    values = {dim: x[:, dim] for dim, is_missing in enumerate(missing) if not is_missing}
    given = mixture.condition(values) if values else mixture.expand((len(x),))
    return given.mean if num_samples is None else given.sample((num_samples,))
