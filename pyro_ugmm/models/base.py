"""What our Bayesian models share, and answer whoever asks."""

from abc import ABC, abstractmethod
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from ..checks import check, check_integer
from ..precision import full_precision
from ..programs.arguments import HasArguments
from ..programs.joint import LogJoint
from ..programs.names import Names
from ..programs.simulation import Simulation
from ..programs.sites import LatentSite, LatentSites
from ..programs.starts import DrawsStarts
from ..programs.traced import Draws
from .draws import beside_rows, check_draws
from .loadings_prior import LoadingsPrior
from .priors import Priors
from .scaled_prior import ScaledPrior

__all__ = ["BayesianModel", "check_size"]


def check_size(size: Any, n_rows: int) -> int | None:
    """Checks the number of rows of the full data, of which there are so many here."""
    return None if size is None else check_integer("size", size, minimum=n_rows)


def _log_density(sites: dict[str, dist.TorchDistribution], draws: Draws) -> Tensor:
    """The log density of all sites, ``()`` or, of draws ``(S, 1)``, ``(S,)``."""
    total = torch.zeros(())
    for site, prior in sites.items():
        total = total + prior.log_prob(draws[site])
    return total.squeeze(-1) if total.dim() else total


class BayesianModel(
    torch.nn.Module, LatentSites, DrawsStarts, LogJoint, Simulation, Names, HasArguments, ABC
):
    """Parameters with priors, and rows that are independent given them.

    Such a model is a Pyro program: ``forward`` is all of it, for data that were checked, and a call
    checks them. Beyond that it answers, without a trace, what is asked of any program. Data are a
    tuple with a first dimension for the rows, in the order in which the model is called with them;
    they are tensors, arrays or data frames.

    Example:
        >>> from pyro_ugmm.models import BayesianGaussianMixture, BayesianModel
        >>> model = BayesianGaussianMixture(3, 2)
        >>> isinstance(model, BayesianModel), sorted(model.site_distributions())
        (True, ['correlations', 'means', 'variances', 'weights'])
    """

    priors: Priors | None

    @abstractmethod
    def site_distributions(self) -> dict[str, dist.TorchDistribution]:
        """The prior of every latent site, by name."""

    @abstractmethod
    def observation(self, draws: Draws, *rows: Tensor) -> Any:
        """The distribution of each row, ``(n,)``, or under each of many draws, ``(S, n)``.

        Args:
            draws: values of latent sites, of one draw or of many, ``(S, 1)``.
            *rows: the data, checked; what is observed is not looked at.
        """

    @abstractmethod
    def example_rows(self) -> tuple[Tensor, ...]:
        """Returns one row of valid data, for a guide to be set up with."""

    @abstractmethod
    def check_data(self, x: Any, y: Any = None) -> tuple[Tensor, ...]:
        """Checks the shapes and values of data, and returns them as tensors like the model's.

        Raises:
            ValueError: if they do not fit the model.
        """

    def latent_sites(self) -> dict[str, LatentSite]:
        """The shape and support of every latent site, by name."""
        priors = self.site_distributions().items()
        return {site: LatentSite(prior.shape(), prior.support) for site, prior in priors}

    def _within_supports(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns values of the latent sites, in their order, that gradients can move."""
        inside = {}
        for site, prior in self.site_distributions().items():
            prior = getattr(prior, "base_dist", prior)
            value = values[site]
            inside[site] = prior.inside(value) if isinstance(prior, ScaledPrior) else value
        return inside

    @property
    def has_likelihood(self) -> bool:
        """Whether :meth:`row_terms` are log-likelihoods."""
        return True

    def row_terms(self, *rows: Tensor, draws: Draws | None = None) -> Tensor:
        """Evaluates what each row adds to the log joint density: ``(n,)``, or ``(S, n)``.

        Nothing is checked: this is evaluated at every step of a training.

        Args:
            *rows: the data, as :meth:`check_data` returns them; the last is what is observed.
            draws: values of the latent sites, with a leading dimension for draws or without.
        """
        draws = beside_rows(draws, self.site_distributions()) if draws else {}
        return self.terms_beside(draws, *rows)

    def terms_beside(self, draws: Draws, *rows: Tensor) -> Tensor:
        """Evaluates ``row_terms`` under draws that are ``(S, 1)``, or one."""
        return self.observation(draws, *rows).log_prob(rows[-1])

    @full_precision
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
        rows = self.check_data(*data)
        for name, value in self.observed_rows(*rows).values.items():
            check(value is not None, name, "one for each row", "None")
        draws = self._check_draws(draws)
        for site, prior in self.site_distributions().items():
            if site in draws:
                inside = prior.support.check(draws[site])
                got = f"{int((~inside).sum())} of {inside.numel()} that are not"
                check(inside.all(), "draws", f"values of {site} within {prior.support}", got)
        return self.row_terms(*rows, draws=draws)

    def _check_draws(self, draws: Any) -> Draws:
        """Checks the shapes of draws, of which many are ``(S,)`` or ``(S, 1)``."""
        checked = check_draws(draws)
        for site, prior in self.site_distributions().items():
            if site in checked:
                shape, event = tuple(checked[site].shape), tuple(prior.event_shape)
                n_leading = len(shape) - len(event)
                fits = n_leading >= 0 and shape[n_leading:] == event
                fits = fits and (n_leading < 2 or shape[n_leading - 1] == 1)
                expected = f"{site} of shape {event}, or of draws, with (S,) or (S, 1) before that"
                check(fits, "draws", expected, shape)
        return checked

    def marginal_prior(self, site: str, *index: int) -> dist.TorchDistribution | None:
        """The prior of one number of a latent site, on the CPU; None where it has no closed form.

        Args:
            site: the site.
            index: where in its value the number is.
        """
        prior = self.site_distributions()[site]
        prior = getattr(prior, "base_dist", prior)
        if isinstance(prior, ScaledPrior | LoadingsPrior):
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
        sites = self.site_distributions()
        draws = beside_rows(self._check_draws(draws), sites)
        check(sites.keys() <= draws.keys(), "draws", f"values of {[*sites]}", f"{[*draws]}")
        return _log_density(sites, draws)

    @full_precision
    def log_joint(self, *rows: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """The log prior and the rows' terms; as in :meth:`row_terms`, nothing is checked."""
        sites = self.site_distributions()
        draws = beside_rows(draws, sites)
        return _log_density(sites, draws), self.terms_beside(draws, *rows)

    def sample_prior(self, num_samples: int) -> dict[str, Tensor]:
        """Draws all latent sites, ``(S,)`` and their shapes."""
        priors = self.site_distributions().items()
        return {site: prior.sample((num_samples,)) for site, prior in priors}

    def site_terms(self, *rows: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The rows' terms, by the one observed site."""
        return {self._observed(*rows): self.row_terms(*rows, draws=draws)}

    def _observed(self, *rows: Tensor) -> str:
        (name,) = self.observed_rows(*rows).values
        return name

    def sample_rows(self, *rows: Tensor, draws: Draws) -> dict[str, Tensor]:
        """Draws as many rows as there are under each draw, ``(S, n)`` and a row's shape.

        By observed site, of which there is one.
        """
        n_draws = len(next(iter(draws.values())))
        observation = self.observation(beside_rows(draws, self.site_distributions()), *rows)
        return {self._observed(*rows): observation.expand((n_draws, len(rows[0]))).sample()}
