"""The curvature of a model's log posterior at a point, in unconstrained coordinates."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import pyro
import torch
from torch import Tensor
from torch.distributions import biject_to

from .checks import check
from .programs.joint import joint_of
from .programs.sites import sites_of
from .programs.traced import Rows

__all__ = ["Curvature", "posterior_curvature"]

_MOST_VALUES = 3000
_WIDEST = 1.0


@dataclass(frozen=True, eq=False)
class Curvature:
    """The Hessian of the negative log posterior, and what it says of the posterior's width.

    Where the point is no maximum, or the data say nothing, the Hessian need not be positive: no
    scale is taken to be wider than one, in unconstrained coordinates.

    Attributes:
        hessian: shape ``(P, P)``.
        shapes: the sites' unconstrained shapes, in the order of their values.
    """

    hessian: Tensor
    shapes: dict[str, torch.Size]

    @property
    def conditional_scales(self) -> Tensor:
        """Each value's scale given all others, shape ``(P,)``."""
        return self.hessian.diagonal().clamp(min=_WIDEST**-2).rsqrt()

    @cached_property
    def covariance_factor(self) -> Tensor:
        """The Cholesky factor of the inverse Hessian, shape ``(P, P)``."""
        values, vectors = torch.linalg.eigh(self.hessian)
        half = vectors * values.clamp(min=_WIDEST**-2).rsqrt()
        upper = torch.linalg.qr(half.mT).R  # the covariance is half half^T, so upper^T upper
        return upper.mT * upper.diagonal().sign()

    def by_site(self, flat: Tensor) -> dict[str, Tensor]:
        """Splits values ``(P,)`` by site."""
        return _by_site(flat, self.shapes)


def posterior_curvature(model: Callable, values: dict[str, Tensor], rows: Rows) -> Curvature:
    r"""Evaluates :math:`-\nabla^2 \log p(x, T(u))` where :math:`T(u)` are given values of sites.

    Args:
        model: the model.
        values: one value of each latent site.
        rows: data that entered the model.

    Raises:
        ValueError: if there are more than 3,000 unconstrained values, whose Hessian would be too
            large; or the log posterior cannot be differentiated twice.
    """
    joint, sites = joint_of(model, rows), sites_of(model, rows).latent_sites()
    bijections = {name: biject_to(site.support) for name, site in sites.items()}
    points = {name: to.inv(values[name]).detach() for name, to in bijections.items()}
    shapes = {name: point.shape for name, point in points.items()}
    flat = torch.cat([point.flatten() for point in points.values()])
    expected = f"a model of at most {_MOST_VALUES} latent values (without x, init_scale is used)"
    check(len(flat) <= _MOST_VALUES, "model", expected, f"{len(flat)}")

    def negative_log_joint(flat: Tensor) -> Tensor:
        draws, volume = {}, flat.new_zeros(())
        for name, point in _by_site(flat, shapes).items():
            to = bijections[name]
            draws[name] = to(point)
            volume = volume + to.log_abs_det_jacobian(point, draws[name]).sum()
        log_prior, terms = joint.log_joint(*rows, draws=draws)
        return -(log_prior + terms.sum() + volume)

    with pyro.validation_enabled(False):
        hessian = torch.autograd.functional.hessian(negative_log_joint, flat)
    assert isinstance(hessian, Tensor)
    hessian = hessian.detach()
    finite = bool(hessian.isfinite().all())
    check(finite, "start", "a point where the log posterior can be differentiated twice", "NaN")
    return Curvature(0.5 * (hessian + hessian.mT), shapes)


def _by_site(flat: Tensor, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    parts = flat.split([shape.numel() for shape in shapes.values()])
    named = zip(shapes.items(), parts, strict=True)
    return {site: part.reshape(shape) for (site, shape), part in named}
