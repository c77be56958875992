"""The CDF of a univariate Gaussian mixture, its inverse, and gradients through that inverse."""

import math

import torch
from torch import Tensor

__all__ = ["invert_cdf", "mixture_cdf", "normal_cdf", "reparameterize"]

_MAX_ITERATIONS = 200


def normal_cdf(z: Tensor) -> Tensor:
    """The CDF of the standard normal distribution, to full relative precision in the lower tail."""
    # torch.special.ndtr is 1 + erf, which is 0 below about -8 in float64 and -5 in float32.
    return 0.5 * torch.erfc(z * -math.sqrt(0.5))


def mixture_cdf(value: Tensor, loc: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    r"""Evaluates :math:`\sum_k w_k \Phi((y - \mu_k) / \sigma_k)`; parameters end in K."""
    z = (value.unsqueeze(-1) - loc) / scale
    return (weight * normal_cdf(z)).sum(-1).clamp(max=1)


def _mixture_density(value: Tensor, loc: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    z = (value.unsqueeze(-1) - loc) / scale
    return (weight / scale * torch.exp(-0.5 * z * z)).sum(-1) / math.sqrt(2 * math.pi)


@torch.no_grad()
def invert_cdf(probability: Tensor, loc: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    """Solves for the value at which the mixture's CDF is ``probability``.

    The components' own quantiles bracket the mixture's. Inside the bracket it takes Newton steps
    on the logarithm of the CDF, and halves the bracket where these do not shrink. A probability
    above one half is solved for in the mirrored mixture, so both tails keep all their digits.
    """
    dtype = torch.promote_types(probability.dtype, loc.dtype)
    epsilon, tiny = torch.finfo(dtype).eps, torch.finfo(dtype).tiny
    batch = torch.broadcast_shapes(probability.shape, loc.shape[:-1])
    q = probability.to(dtype).expand(batch)
    side = torch.where(q > 0.5, -1.0, 1.0).to(dtype)
    target = torch.where(q > 0.5, 1 - q, q)
    loc = side.unsqueeze(-1) * loc

    quantile = loc + scale * torch.special.ndtri(target).unsqueeze(-1)
    margin = 0.01 * scale  # more than the rounding of ndtri
    low = (quantile - margin).amin(-1)
    high = (quantile + margin).amax(-1)

    value = low + 0.5 * (high - low)
    last_step = high - low
    for _ in range(_MAX_ITERATIONS):
        cdf = mixture_cdf(value, loc, scale, weight)
        below = cdf < target
        low, high = torch.where(below, value, low), torch.where(below, high, value)
        middle = low + 0.5 * (high - low)
        closed = (middle == low) | (middle == high)  # no floating-point number lies between
        done = ((cdf - target).abs() <= 2 * epsilon * target) | closed | ~middle.isfinite()
        if torch._is_all_true(done):  # which vmap knows
            break
        step = torch.log1p((target - cdf) / cdf) * cdf / _mixture_density(value, loc, scale, weight)
        # A step too short to be seen still has to cross the root, to close the bracket.
        resolution = epsilon * value.abs() + tiny
        step = step.sign() * step.abs().clamp(min=resolution)
        newton = value + step
        shrinks = step.abs() <= torch.maximum(0.5 * last_step, 4 * resolution)
        proposal = torch.where((newton > low) & (newton < high) & shrinks, newton, middle)
        last_step = torch.where(done, last_step, (proposal - value).abs())
        value = torch.where(done, value, proposal)
    error = (mixture_cdf(value, loc, scale, weight) - target).abs()
    for end in (low, high):
        end_error = (mixture_cdf(end, loc, scale, weight) - target).abs()
        value, error = torch.where(end_error < error, end, value), torch.minimum(end_error, error)
    value = torch.where(target > 0, value, -math.inf)
    return torch.where(target.isnan(), target, side * value)


class _ImplicitQuantile(torch.autograd.Function):
    """The identity on ``value``, with the derivatives that hold CDF(value; parameters) fixed.

    Its backward is made of differentiable operations on its own output, so it can be
    differentiated again.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(value, loc, scale, log_weight, probability):
        return value.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output, *inputs[1:4])

    @staticmethod
    def backward(ctx, grad):
        value, loc, scale, log_weight = ctx.saved_tensors
        finite = value.isfinite()
        value, grad = torch.where(finite, value, 0), torch.where(finite, grad, 0)
        z = (value.unsqueeze(-1) - loc) / scale
        log_joint = log_weight - scale.log() - 0.5 * z * z - 0.5 * math.log(2 * math.pi)
        log_density = log_joint.logsumexp(-1, keepdim=True)
        largest = math.log(torch.finfo(value.dtype).max) - 1
        grad_loc = grad.unsqueeze(-1) * (log_joint - log_density).exp()
        # The weights sum to one, so raising them all alike changes nothing: above the median
        # the derivative used is that of minus the survival function, small where the CDF is not.
        upper = (log_weight.exp() * torch.erf(z)).sum(-1, keepdim=True) > 0
        sign = torch.where(upper, -1.0, 1.0).to(z.dtype)
        log_ratio = log_weight + torch.special.log_ndtr(sign * z) - log_density
        grad_log_weight = -sign * grad.unsqueeze(-1) * log_ratio.clamp(max=largest).exp()
        grad_probability = grad * (-log_density.squeeze(-1)).clamp(max=largest).exp()
        return None, grad_loc, grad_loc * z, grad_log_weight, grad_probability


def reparameterize(
    value: Tensor, loc: Tensor, scale: Tensor, log_weight: Tensor, probability: Tensor | None = None
) -> Tensor:
    r"""Returns ``value``, made differentiable as the mixture's quantile at a fixed probability.

    With :math:`F(y; \theta) = q`, implicit differentiation gives
    :math:`\mathrm{d}y/\mathrm{d}q = 1 / p(y)` and
    :math:`\mathrm{d}y/\mathrm{d}\theta = -(\partial F/\partial\theta) / p(y)`; for a mixture
    :math:`\mathrm{d}y/\mathrm{d}\mu_k = r_k` and
    :math:`\mathrm{d}y/\mathrm{d}\sigma_k = r_k (y - \mu_k)/\sigma_k` with the responsibilities
    :math:`r_k`. Infinite values get gradients of zero.
    """
    shape = value.shape + loc.shape[-1:]
    if probability is None:
        probability = value.new_zeros(())
    return _ImplicitQuantile.apply(
        value,
        loc.expand(shape),
        scale.expand(shape),
        log_weight.expand(shape),
        probability.expand(value.shape),
    )
