"""Bijections from the reals to supports: values, with the log volumes that come with them.

They are those of ``torch.distributions``, of which some take fewer operations here: what is
evaluated at every step of a sampler is small, and as long as its operations are many.
"""

import math
from collections.abc import Callable
from functools import singledispatch

import torch
from torch import Tensor
from torch.distributions.transforms import (
    AffineTransform,
    CorrCholeskyTransform,
    IndependentTransform,
    StickBreakingTransform,
    Transform,
)
from torch.nn.functional import logsigmoid, pad

__all__ = ["ValueAndVolume", "value_and_volume"]

ValueAndVolume = Callable[[Tensor], tuple[Tensor, Tensor]]
r"""Of unconstrained values ``B`` and a shape: values, and
:math:`\log |\det \partial \theta / \partial u|`, of shape ``B``, with dimensions after it that are
to be summed over, or ``()``, of all alike."""


@singledispatch
def value_and_volume(transform: Transform, like: Tensor) -> ValueAndVolume:
    """What evaluates a bijection, given one unconstrained value."""

    def evaluate(u: Tensor) -> tuple[Tensor, Tensor]:
        value = transform(u)
        return value, transform.log_abs_det_jacobian(u, value)

    return evaluate


@value_and_volume.register
def _(transform: IndependentTransform, like: Tensor) -> ValueAndVolume:
    return value_and_volume(transform.base_transform, like)


@value_and_volume.register
def _(transform: AffineTransform, like: Tensor) -> ValueAndVolume:
    volume = transform.log_abs_det_jacobian(like, like).sum()
    return lambda u: (transform(u), volume)


@value_and_volume.register
def _(transform: StickBreakingTransform, like: Tensor) -> ValueAndVolume:
    r""":math:`y_k = \sigma(a_k) \prod_{j<k} \sigma(-a_j)`, where each stick is even at
    :math:`u = 0`.
    """
    shift = torch.arange(like.shape[-1], 0, -1).to(like).log()

    def evaluate(u: Tensor) -> tuple[Tensor, Tensor]:
        a = u - shift
        taken = logsigmoid(a)
        left = taken - a
        before = pad(left.cumsum(-1), (1, 0))
        volume = (before[..., :-1] + taken + left).sum(-1)
        value = (before + pad(taken, (0, 1))).exp()
        return value / value.sum(-1, keepdim=True), volume  # rounding may have added up

    return evaluate


@value_and_volume.register
def _(transform: CorrCholeskyTransform, like: Tensor) -> ValueAndVolume:
    r""":math:`y_{ij} = \rho_{ij} \prod_{l<j} (1 - \rho_{il}^2)^{1/2}` with :math:`\rho = \tanh u`
    below the diagonal, and one on it.
    """
    (size, _), n_values = transform.forward_shape(like.shape[-1:]), like.shape[-1]
    row, column = torch.tril_indices(size, size, -1)
    at = torch.full((size, size), n_values)  # of what is zero
    at.fill_diagonal_(n_values + 1)  # of what is one
    at[row, column] = torch.arange(n_values)
    lost = torch.full((size, size), n_values)
    lost[row, column + 1] = torch.arange(n_values)
    at, lost = (index.flatten().to(like.device) for index in (at, lost))
    times = (0.5 * (row - column + 1)).to(like)

    def evaluate(u: Tensor) -> tuple[Tensor, Tensor]:
        log_left = 2 * (logsigmoid(2 * u) - u + math.log(2))  # the logarithm of 1 - rho^2
        rho = pad(pad(u.tanh(), (0, 1)), (0, 1), value=1.0).index_select(-1, at)
        steps = pad(0.5 * log_left, (0, 1)).index_select(-1, lost).unflatten(-1, (size, size))
        return rho.unflatten(-1, (size, size)) * steps.cumsum(-1).exp(), log_left @ times

    return evaluate
