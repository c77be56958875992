"""What guides, training and diagnostics need to know of a Bayesian model."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from ..checks import check, check_integer
from ..precision import full_precision
from .priors import Priors
from .scaled_prior import ScaledPrior

__all__ = ["BayesianModel", "Draws", "check_draws", "check_model"]

Draws = Mapping[str, Tensor]
"""Values of latent sites by name: of one draw, or of many with leading dimensions ``(S, 1)``."""


def _with_row_dimension(draws: Tensor, event_dim: int) -> Tensor:
    """Makes room for the rows in draws of shape ``(S,) + event_shape``.

    Pyro's parallel ``Predictive`` hands back draws without the dimension of the plate ``data``.
    """
    has_it = draws.dim() == event_dim or draws.shape[-event_dim - 1] == 1
    return draws if has_it else draws.unsqueeze(-event_dim - 1)


def check_draws(draws: Any) -> dict[str, Tensor]:
    """Checks that ``draws`` are tensors by name, or None, and returns them."""
    is_mapping = draws is None or isinstance(draws, Mapping)
    check(is_mapping, "draws", "tensors by site, or None", type(draws).__name__)
    for site, value in (draws or {}).items():
        is_tensor = isinstance(value, Tensor)
        check(is_tensor, "draws", f"a tensor of the site {site}", type(value).__name__)
    return dict(draws or {})


def check_model(model: Any) -> None:
    """Checks that ``model`` is one, not a network of one."""
    expected = "a BayesianModel, such as UGMMClassifier(network)"
    check(isinstance(model, BayesianModel), "model", expected, type(model).__name__)


class BayesianModel(torch.nn.Module, ABC):
    """Parameters with priors, and rows that are independent given them.

    A subclass says what the latent sites are and how a row is distributed given their values.
    Data are a tuple with a first dimension for the rows, in the order in which the model is called
    with them; the last is what is observed. They are tensors, arrays or data frames, which
    :meth:`check_data` turns to tensors.

    Example:
        >>> from pyro_ugmm.models import BayesianGaussianMixture, BayesianModel
        >>> model = BayesianGaussianMixture(3, 2)
        >>> isinstance(model, BayesianModel), sorted(model.site_distributions())
        (True, ['correlations', 'means', 'variances', 'weights'])
    """

    priors: Priors | None
    observed: ClassVar[str]
    """The name of the observed site."""

    @abstractmethod
    def site_distributions(self) -> dict[str, dist.TorchDistribution]:
        """The prior of every latent site, by name."""

    @abstractmethod
    def start_values(self, start: Any = None) -> dict[str, Tensor]:
        """Values of the latent sites to start from: its own, or those of a point estimate.

        Where one is not strictly within a prior's support, the support's middle stands in for it.
        """

    def take_start(self, start: Any) -> None:
        """Copies from a point estimate what has no prior, and is to be learned, in place."""

    def _within_supports(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns values of the latent sites, in their order, that gradients can move."""
        found = {}
        for site, prior in self.site_distributions().items():
            prior = getattr(prior, "base_dist", prior)
            value = values[site]
            found[site] = prior.inside(value) if isinstance(prior, ScaledPrior) else value
        return found

    @abstractmethod
    def check_data(self, x: Any, y: Any = None) -> tuple[Tensor, ...]:
        """Checks the shapes and values of data, and returns them as tensors like the model's.

        Raises:
            ValueError: if they do not fit the model.
        """

    @abstractmethod
    def observation(self, given: Any, draws: Draws | None = None) -> Any:
        """The distribution of each row, ``(n,)``, or under each of many draws, ``(S, n)``.

        Args:
            given: what comes before the observed tensor in the data; if nothing does, the number
                of rows.
            draws: values of latent sites.
        """

    @abstractmethod
    def split_data(self, x: Any, y: Tensor | None = None) -> tuple[Any, Tensor | None]:
        """Splits data in what :meth:`observation` is given and what is observed."""

    @property
    @abstractmethod
    def values_per_row(self) -> int:
        """How many numbers it takes to evaluate one row under one draw."""

    @abstractmethod
    def dims(self) -> dict[str, list[str]]:
        """Names the dimensions of every site, and of the data."""

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """What the model was made with, priors excepted, as JSON can hold it."""

    @classmethod
    @abstractmethod
    def from_arguments(
        cls, arguments: dict[str, Any], priors: Any, dtype: torch.dtype, state: dict[str, Tensor]
    ) -> Self:
        """Makes a model again, whose ``state`` is to be loaded next."""

    @abstractmethod
    def example_row(self) -> Tensor:
        """Returns one row of valid data, ``(1, K)``, for a guide to be set up with."""

    @property
    def has_likelihood(self) -> bool:
        """Whether :meth:`row_terms` are log-likelihoods."""
        return True

    @full_precision
    def row_terms(self, *data: Any, draws: Draws | None = None) -> Tensor:
        """Evaluates what each row adds to the log joint density: ``(n,)``, or ``(S, n)``.

        Args:
            *data: the data.
            draws: values of the latent sites, with a leading dimension for draws or without.
        """
        given, observed = self.split_data(*self.check_data(*data))
        draws = None if draws is None else self._over_rows(draws)
        return self.observation(given, draws).log_prob(observed)

    def _over_rows(self, draws: Draws) -> Draws:
        """Makes room for the rows in draws of shape ``(S,)``; those of ``(S, 1)`` have it."""
        found = check_draws(draws)
        for site, prior in self.site_distributions().items():
            value = found.get(site)
            if value is None:
                continue
            n_leading, event = value.dim() - prior.event_dim, tuple(prior.event_shape)
            fits = n_leading >= 0 and tuple(value.shape[n_leading:]) == event
            fits &= n_leading < 2 or value.shape[n_leading - 1] == 1
            expected = f"{site} of shape {event}, or of draws, with (S,) or (S, 1) before that"
            check(fits, "draws", expected, tuple(value.shape))
            found[site] = value.unsqueeze(1) if n_leading == 1 else value
        return found

    def log_likelihood(self, *data: Any, draws: Draws | None = None) -> Tensor:
        """Evaluates each row's log density, shape ``(n,)``, or ``(S, n)`` given draws.

        Args:
            *data: the data.
            draws: values of the latent sites, with a leading dimension for draws or without.

        Raises:
            ValueError: if the data or draws do not fit the model, or it has no likelihood.
        """
        expected = "one with a likelihood (objective='conditional' has one)"
        check(self.has_likelihood, "model", expected, "objective='score', which is none")
        return self.row_terms(*data, draws=draws)

    def marginal_prior(self, site: str, *index: int) -> dist.TorchDistribution | None:
        """The prior of one number of a latent site, on the CPU; None where it has no closed form.

        Args:
            site: the site.
            index: where in its value the number is.
        """
        prior = self.site_distributions()[site]
        prior = getattr(prior, "base_dist", prior)
        if isinstance(prior, ScaledPrior):
            return prior.element(*index)
        if isinstance(prior, torch.distributions.Dirichlet):
            *batch, last = index
            concentration = prior.concentration[tuple(batch)].cpu()
            return dist.Beta(concentration[last], concentration.sum() - concentration[last])
        return None

    @full_precision
    def log_prior(self, draws: Draws) -> Tensor:
        """Evaluates the log density of all latent sites: ``()``, or ``(S,)`` for draws.

        Raises:
            ValueError: if the draws do not fit the model.
        """
        sites, draws = self.site_distributions(), self._over_rows(draws)
        check(sites.keys() <= draws.keys(), "draws", f"values of {[*sites]}", f"{[*draws]}")
        total = torch.zeros(())
        for site, prior in sites.items():
            total = total + prior.log_prob(draws[site])
        return total.squeeze(-1) if total.dim() else total

    def note_fit(self, *data: Tensor) -> None:
        """Takes note of what rows are like within the model, after it was fitted to them."""

    @full_precision
    def sample_rows(self, *data: Any, size: int | None) -> Tensor:
        """Runs the model: draws the latent sites, and draws or scores the rows.

        Args:
            *data: the data, checked, without what is to be drawn.
            size: the number of rows of the full data, if these are a minibatch of it.
        """
        given, observed = self.split_data(*data)
        n_rows = given if isinstance(given, int) else len(given)
        if size is not None:
            size = check_integer("size", size, minimum=n_rows)
        draws = {
            site: _with_row_dimension(pyro.sample(site, prior), prior.event_dim)
            for site, prior in self.site_distributions().items()
        }
        rows = self.observation(given, draws)
        if observed is None:
            self.check_predictable(given, rows, draws)
        subsample = torch.arange(n_rows, device=next(self.buffers()).device)
        with pyro.plate("data", n_rows if size is None else size, subsample=subsample):
            return pyro.sample(self.observed, rows, obs=observed)

    def check_predictable(self, given: Any, rows: Any, draws: Draws) -> None:
        """Checks that rows can be drawn."""
