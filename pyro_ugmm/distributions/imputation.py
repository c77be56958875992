"""Missing entries of rows, filled in from what was observed of them."""

from operator import itemgetter
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..checks import check, check_integer, check_seed
from ..randomness import generator_for
from ..tables import Table, as_table
from .multivariate import GaussianMixture
from .ugmm_mixture import UGMMMixture

__all__ = ["impute", "rows_to_fill"]

_Mixture = GaussianMixture | UGMMMixture
_M = TypeVar("_M", GaussianMixture, UGMMMixture)


@torch.no_grad()
def impute(
    mixture: _Mixture, x: Any, num_samples: int | None = None, seed: int | None = None
) -> Any:
    r"""Fills NaN in rows with conditional means, or with draws, given what was observed.

    .. math:: \mathbb{E}[x_{\mathrm{missing}} \mid x_{\mathrm{observed}}] \qquad\text{or}\qquad
        x_{\mathrm{missing}} \sim p(x_{\mathrm{missing}} \mid x_{\mathrm{observed}})

    A mean is the best guess of one entry, by squared error. Several draws of the whole table keep
    what is uncertain about it: do what is to be done with each, and compare (Rubin 1987, *Multiple
    imputation for nonresponse in surveys*). Draws given one mixture take it for known; a batch of
    them, drawn from its posterior or fitted to bootstrapped rows, makes Rubin's proper imputations.

    Args:
        mixture: a :class:`GaussianMixture` or :class:`UGMMMixture`, such as EM fits to the same
            rows by ``missing="marginalize"``; or a batch of them, such as
            :func:`~pyro_ugmm.diagnostics.mixture_draws` makes, each of which fills in once.
        x: rows, shape ``(n, D)``: a tensor, an array, or a data frame; NaN, null or masked where
            nothing was observed. What is no tensor is filled in the wider of its precision and
            the mixture's, so that what was observed stays as it is.
        num_samples: how many draws; conditional means if None. Of a batch None.
        seed: for the draws; torch's generator is used, and left alone if given.

    Returns:
        Rows without NaN, shape ``(n, D)``; or draws of them, ``(num_samples, n, D)``, of a batch
        of S mixtures ``(S, n, D)``. For a data frame, one with its columns and index; or a list.

    Raises:
        ValueError: if the rows do not fit the mixture, an entry is infinite, or a batch is to draw
            more than once.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import FullCovariance, GaussianMixture, impute
        >>> covariance = FullCovariance(torch.tensor([[[1.0, 0.8], [0.8, 1.0]]]))
        >>> mixture = GaussianMixture(torch.ones(1), torch.zeros(1, 2), covariance)
        >>> impute(mixture, torch.tensor([[2.0, torch.nan], [1.0, 1.0]]))
        tensor([[2.0000, 1.6000],
                [1.0000, 1.0000]])
    """
    is_mixture = isinstance(mixture, _Mixture)
    expected = "a GaussianMixture or UGMMMixture"
    check(is_mixture, "mixture", expected, type(mixture).__name__)
    each = _each(mixture)
    if mixture.batch_shape:
        expected = f"None, as each of {len(each)} mixtures fills in once"
        check(num_samples is None, "num_samples", expected, num_samples)
    elif num_samples is not None:
        num_samples = check_integer("num_samples", num_samples)
    _, table = rows_to_fill(each[0], x)
    generator = generator_for(check_seed("seed", seed), table.values.device)
    count = 1 if mixture.batch_shape else num_samples
    wide = [one.as_wide_as(table.values.dtype) for one in each]
    parts = [_filled(one, table.values, count, generator) for one in wide]
    filled = torch.cat(parts) if mixture.batch_shape else parts[0]
    if table.frame is None or filled.dim() == 2:
        return table.restored(filled)
    return [table.restored(draw) for draw in filled]


def _each(mixture: _M) -> list[_M]:
    """The mixtures of a batch, one by one."""
    shape = mixture.batch_shape
    check(shape.numel() > 0, "mixture", "at least one mixture", f"a batch {tuple(shape)}")
    if not shape:
        return [mixture]
    places = [tuple(place) for place in torch.ones(shape).nonzero().tolist()]
    return [mixture.reindex(itemgetter(place)) for place in places]


def rows_to_fill(mixture: _M, x: Any) -> tuple[_M, Table]:
    """Returns one mixture, and rows ``(n, D)`` in its dtype, in the wider of the two.

    Raises:
        ValueError: if there is a batch, the rows do not fit, or an entry is infinite.
    """
    check(not mixture.batch_shape, "mixture", "one mixture", f"a batch {mixture.batch_shape}")
    table, n_features = as_table("x", x), mixture.n_features
    if not table.is_tensor:
        mixture = mixture.as_wide_as(table.values.dtype)
    shape = tuple(table.values.shape)
    fits = len(shape) == 2 and shape[1] == n_features
    check(fits, "x", f"shape (n, {n_features})", shape)
    table = table.like("the mixture", mixture.weights)
    table.check_entries(~table.values.isinf(), "finite values, or NaN")
    return mixture, table


def _filled(
    mixture: _Mixture,
    x: Tensor,
    num_samples: int | None,
    generator: torch.Generator | None,
) -> Tensor:
    filled = x.clone() if num_samples is None else x.repeat(num_samples, 1, 1)
    patterns, which = x.isnan().unique(dim=0, return_inverse=True)
    for i, missing in enumerate(patterns):
        rows, dims = (which == i).nonzero()[:, 0], missing.nonzero()[:, 0]
        if len(dims):
            given = _given(mixture, x[rows], missing.tolist())
            imputed = given.mean if num_samples is None else given.sample((num_samples,), generator)
            filled[..., rows.unsqueeze(1), dims] = imputed
    return filled


def _given(mixture: _Mixture, x: Tensor, missing: list[bool]) -> _Mixture:
    """The mixtures of what is missing of rows that miss the same dimensions."""
    values = {dim: x[:, dim] for dim, is_missing in enumerate(missing) if not is_missing}
    return mixture.condition(values) if values else mixture.expand((len(x),))
