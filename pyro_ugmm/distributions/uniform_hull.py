"""The uniform distribution over a convex hull."""

import math
from typing import Any, Self

import numpy as np
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ..checks import check
from ..missing_values import ALL_OBSERVED
from ..tables import as_table

__all__ = ["UniformHull"]

_MOST_FEATURES = 8  # facets grow as the rows to the power of half of that
_ENTRIES_AT_ONCE = 1 << 22
_ROUNDING = 100


class UniformHull(dist.TorchDistribution):
    r"""The uniform distribution over the convex hull of points, its surface included.

    .. math:: p(x) = 1 / V \quad \text{for } A x + b \le 0

    with its facets' outward normals in :math:`A` and its volume :math:`V`. Source: Barber, Dobkin
    and Huhdanpaa (1996), *The Quickhull algorithm for convex hulls*, by ``scipy.spatial``.

    Args:
        points: shape ``(n, D)``, with D from 2 to 8.

    Raises:
        ValueError: if points are not finite, of too many features, or all in one plane.

    Example:
        >>> import torch
        >>> from pyro_ugmm.distributions import UniformHull
        >>> hull = UniformHull(torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.5, 0.5]]))
        >>> hull
        UniformHull(3 vertices, n_features=2, volume=2)
        >>> hull.log_prob(torch.tensor([[1.0, 1.0], [1.5, 1.5]])).exp()
        tensor([0.5000, 0.0000])
    """

    arg_constraints: dict[str, Any] = {}
    support = constraints.real_vector
    has_rsample = False

    def __init__(self, points: Tensor) -> None:
        from scipy.spatial import ConvexHull, QhullError

        points = points.detach()
        shape = tuple(points.shape)
        expected = f"shape (n, D) with D from 2 to {_MOST_FEATURES} (a box has no such limit)"
        check(len(shape) == 2 and 2 <= shape[1] <= _MOST_FEATURES, "points", expected, shape)
        as_table("points", points).check_finite(ALL_OBSERVED)
        try:
            hull = ConvexHull(points.double().cpu().numpy())
        except (QhullError, ValueError):
            expected = f"{shape[1] + 1} or more that are not all in one plane (take a box)"
            check(False, "points", expected, f"{shape[0]} that have no volume")
        self.vertices = points[torch.from_numpy(hull.vertices.astype(np.int64)).to(points.device)]
        facets = torch.from_numpy(np.unique(hull.equations, axis=0)).to(points)
        self._normals, self._offsets = facets[:, :-1], facets[:, -1]
        self.volume = float(hull.volume)
        super().__init__(torch.Size(), points.shape[-1:], validate_args=False)

    @classmethod
    def around(cls, x: Any) -> Self:
        """Returns the hull of rows ``(n, D)``, in whatever holds them."""
        return cls(as_table("x", x).values)

    def expand(self, batch_shape, _instance=None):
        """Broadcasts the batch to ``batch_shape``."""
        new = self._get_checked_instance(type(self), _instance)
        new.__dict__.update(self.__dict__)
        shape = torch.Size(batch_shape)
        dist.TorchDistribution.__init__(new, shape, self.event_shape, validate_args=False)
        return new

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Returns it on another device or in another dtype, as tensors' ``to`` does."""
        return type(self)(self.vertices.to(*args, **kwargs))

    def log_prob(self, value: Tensor) -> Tensor:
        """Evaluates the log density of rows ``(..., D)``; outside, it is minus infinity."""
        rows = value.reshape(-1, value.shape[-1])
        scale = self.vertices.abs().amax()
        rounding = _ROUNDING * torch.finfo(value.dtype).eps * scale
        at_once = max(1, _ENTRIES_AT_ONCE // len(self._normals))
        parts = [
            (part @ self._normals.T + self._offsets).amax(-1) <= rounding
            for part in rows.split(at_once)
        ]
        is_inside = torch.cat(parts).view(value.shape[:-1]) if parts else value[..., 0] > 0
        inside = torch.full_like(value[..., 0], -math.log(self.volume))
        return torch.where(is_inside, inside, -torch.inf)

    @torch.no_grad()
    def sample(self, sample_shape=()) -> Tensor:
        """Draws rows, ``sample_shape + batch_shape + (D,)``: from the simplices that the hull
        falls into, in proportion to their volumes.
        """
        from scipy.spatial import Delaunay

        shape = torch.Size(sample_shape) + self.batch_shape
        vertices, n_features = self.vertices, self.vertices.shape[1]
        simplices = torch.from_numpy(
            Delaunay(vertices.double().cpu().numpy()).simplices.astype(np.int64)
        )
        corners = vertices[simplices.to(vertices.device)]
        volumes = torch.linalg.det(corners[:, 1:] - corners[:, :1]).abs()
        at = torch.multinomial(volumes, max(shape.numel(), 1), replacement=True)[: shape.numel()]
        shares = vertices.new_ones(n_features + 1)
        shares = torch._sample_dirichlet(shares.expand(shape.numel(), -1).contiguous())
        return (shares.unsqueeze(-1) * corners[at]).sum(1).view(*shape, n_features)

    def __repr__(self) -> str:
        count, n_features = self.vertices.shape
        name = type(self).__name__
        return f"{name}({count} vertices, n_features={n_features}, volume={self.volume:.4g})"
