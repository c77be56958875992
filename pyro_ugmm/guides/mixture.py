"""A mixture of guides, which is a guide."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from pyro.infer.autoguide import AutoContinuous, AutoNormal
from torch import Tensor
from torch.distributions import Independent, Normal, constraints

from ..checks import check
from ..nn.local_parameters import localize
from ..programs.traced import Rows

__all__ = ["MixtureGuide"]


class _FiniteMixture(TorchDistribution):
    """A mixture of any distributions over vectors."""

    arg_constraints = {"weights": constraints.simplex}
    support = constraints.real_vector
    has_rsample = False

    def __init__(self, weights: Tensor, components: Sequence[Any], batch_shape=()) -> None:
        self.weights, self.components = weights, components
        event = components[0].event_shape
        super().__init__(torch.Size(batch_shape), event, validate_args=False)

    def expand(self, batch_shape, _instance=None):
        """Broadcasts the batch to ``batch_shape``."""
        return _FiniteMixture(self.weights, self.components, batch_shape)

    @torch.no_grad()
    def sample(self, sample_shape=()) -> Tensor:
        """Draws a component for each draw, and then from it."""
        shape = torch.Size(sample_shape) + self.batch_shape
        chosen = self.weights.multinomial(shape.numel(), replacement=True)
        draws = self.weights.new_empty(shape.numel(), *self.event_shape)
        for k, component in enumerate(self.components):
            draws[chosen == k] = component.sample((int((chosen == k).sum()),))
        return draws.reshape(shape + self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Evaluates the log density."""
        parts = torch.stack([component.log_prob(value) for component in self.components], -1)
        return (parts + self.weights.log()).logsumexp(-1)


class MixtureGuide(AutoContinuous):
    r"""A guide that draws from one of several guides of a model.

    .. math:: q(\theta) = \sum_k w_k \, q_k(\theta)

    It is one of Pyro's ``AutoContinuous``, with a density, so that whatever takes a guide takes it:
    ``to_inference_data`` and ``pareto_k`` judge it, ``sample_posterior`` starts from it. It shares
    the guides' parameters.

    Args:
        model: the model.
        guides: its guides, each an ``AutoNormal`` or an ``AutoContinuous``, which have run.
        weights: the :math:`w_k`, shape ``(K,)``, which sum to one.
        rows: data, for the model to be run on once.

    Raises:
        ValueError: if a guide is of another kind, or there are not as many as weights.

    Example:
        >>> import torch
        >>> from pyro_ugmm.guides import MixtureGuide, mean_field
        >>> from pyro_ugmm.models import BayesianGaussianMixture
        >>> model, x = BayesianGaussianMixture(2, 1), torch.randn(20, 1)
        >>> guides = [mean_field(model, init_scale=scale, x=x) for scale in (0.1, 0.2)]
        >>> guide = MixtureGuide(model, guides, torch.tensor([0.4, 0.6]), (x,))
        >>> guide(x)["means"].shape
        torch.Size([2, 1])
    """

    def __init__(self, model: Callable, guides: Sequence[Any], weights: Tensor, rows: Rows) -> None:
        expected = f"one for each of {len(guides)} guides"
        check(tuple(weights.shape) == (len(guides),), "weights", expected, tuple(weights.shape))
        for guide in guides:
            got = type(guide).__name__
            check(isinstance(guide, AutoNormal | AutoContinuous), "guides", "autoguides", got)
        names = [name for name, _ in guides[0].prototype_trace.iter_stochastic_nodes()]
        super().__init__(poutine.block(model, expose=names))
        self.guides, self._names = torch.nn.ModuleList(guides), names
        self.register_buffer("weights", weights)
        localize(self)
        with torch.no_grad():
            self._setup_prototype(*rows)

    def get_posterior(self, *args: Any, **kwargs: Any) -> TorchDistribution:
        """The mixture, over all sites' unconstrained values."""
        return _FiniteMixture(self.weights, [self._distribution(guide) for guide in self.guides])

    def _distribution(self, guide: Any) -> Any:
        if isinstance(guide, AutoContinuous):
            return guide.get_posterior()
        parts = [guide._get_loc_and_scale(name) for name in self._names]
        loc, scale = (torch.cat([part.flatten() for part in of]) for of in zip(*parts, strict=True))
        return Independent(Normal(loc, scale, validate_args=False), 1, validate_args=False)
