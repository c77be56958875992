"""The posterior of variational Bayes in closed form, as a guide."""

import math
from collections.abc import Mapping
from typing import Any

import pyro
import torch
from pyro.distributions import Delta, TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from ..em.variational.parameters import ParameterDistribution
from ..models.covariance_sites import COVARIANCE_SITES
from .precision_sites import PRECISION_SITES

__all__ = ["ConjugateGuide"]


class ConjugateGuide:
    r"""A guide whose draws are those of a conjugate posterior, in closed form.

    .. math:: q(w) \prod_k \mathrm{Wishart}(\Lambda_k \mid \nu_k, \Psi_k^{-1}) \,
        \mathcal{N}(\mu_k \mid m_k, (\beta_k \Lambda_k)^{-1})

    over the sites of a ``BayesianGaussianMixture`` with priors on all, as densities of these.
    ``to_inference_data`` and ``pareto_k`` judge it, ``sample_posterior`` starts from it; it has
    nothing to learn. The posterior is that of its own priors: what theirs differ from the
    model's, :math:`\hat k` says. What a stick has beyond the last weight is the last one's here.

    Args:
        posterior: a fit's, in the dtype of the model.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import pareto_k, to_inference_data
        >>> from pyro_ugmm.em import VariationalEM, initialize
        >>> from pyro_ugmm.models import BayesianGaussianMixture, Priors
        >>> x = torch.cat([torch.randn(50, 1) - 5, torch.randn(50, 1) + 5])
        >>> vb = VariationalEM().fit(x, initialize(x, 2, seed=0))
        >>> model = BayesianGaussianMixture(2, 1, priors=Priors.from_data(x))
        >>> idata = to_inference_data(model, vb.guide(), x, num_samples=500, seed=0)
        >>> k, verdict = pareto_k(idata)
    """

    def __init__(self, posterior: ParameterDistribution) -> None:
        components = posterior.components
        self._means, self._structure_name = components.means, components.structure.name
        self._mean_precision = components.mean_precision.to(self._means)
        self._build = COVARIANCE_SITES[self._structure_name].build
        self._precisions = PRECISION_SITES[self._structure_name](components)
        is_one = len(self._means) == 1
        self._weights = None if is_one else posterior.weights.on_simplex(self._means)
        self._joint = _Joint(self)

    def __repr__(self) -> str:
        (n_components, n_features), name = self._means.shape, self._structure_name
        return f"{type(self).__name__}({n_components}, {n_features}, {name!r})"

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Samples all sites; takes what a model takes."""
        together = pyro.sample("_parameters", self._joint, infer={"is_auxiliary": True})
        values = self._joint.split(together)
        dims = {name: len(shape) for name, shape in self._joint.shapes.items()}
        return {
            name: pyro.sample(name, Delta(value, event_dim=dims[name]))
            for name, value in values.items()
        }

    @torch.no_grad()
    def draw(self, shape: tuple[int, ...] = ()) -> dict[str, Tensor]:
        """Draws values of all sites; weights below rounding are raised to it."""
        values = {}
        if self._weights is not None:
            weights = self._weights.sample(torch.Size(shape))
            weights = weights.clamp(min=torch.finfo(weights.dtype).eps)
            values["weights"] = weights / weights.sum(-1, keepdim=True)
        spread = self._precisions.draw(shape)
        noise = torch.randn(*shape, *self._means.shape).to(self._means)
        noise = noise / self._mean_precision.sqrt().unsqueeze(-1)
        values["means"] = self._means + self._precisions.color(noise, spread)
        return values | spread

    def log_density(self, values: Mapping[str, Tensor]) -> Tensor:
        """Evaluates the joint log density of values of all sites."""
        density = self._precisions.log_density(values)
        if self._weights is not None:
            density = density + self._weights.log_prob(values["weights"])
        scale, means = self._mean_precision.sqrt(), values["means"]
        covariance = self._build(values)
        deviations = scale.unsqueeze(-1) * (means - self._means)
        scaled = covariance.log_density(torch.zeros_like(means[..., 0, :]), deviations)
        return density + (scaled + means.shape[-1] * scale.log()).sum(-1)


class _Joint(TorchDistribution):
    """All sites of a conjugate guide as one vector."""

    arg_constraints: dict[str, Any] = {}
    support = constraints.real_vector
    has_rsample = False

    def __init__(self, guide: ConjugateGuide, batch_shape=()) -> None:
        self._guide = guide
        self.shapes = {name: value.shape for name, value in guide.draw().items()}
        self._sizes = [math.prod(shape) for shape in self.shapes.values()]
        event = torch.Size((sum(self._sizes),))
        super().__init__(torch.Size(batch_shape), event, validate_args=False)

    def expand(self, batch_shape, _instance=None):
        """Broadcasts the batch to ``batch_shape``."""
        return type(self)(self._guide, batch_shape)

    def split(self, together: Tensor) -> dict[str, Tensor]:
        """Takes a vector apart."""
        parts = zip(self.shapes.items(), together.split(self._sizes, -1), strict=True)
        return {name: part.unflatten(-1, shape) for (name, shape), part in parts}

    def sample(self, sample_shape=()) -> Tensor:
        """Draws all sites."""
        shape = torch.Size(sample_shape) + self.batch_shape
        values = self._guide.draw(tuple(shape)).values()
        return torch.cat([value.flatten(len(shape)) for value in values], -1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Evaluates the log density of all sites."""
        return self._guide.log_density(self.split(value))
