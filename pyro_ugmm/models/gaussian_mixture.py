"""The Bayesian Gaussian mixture."""

from typing import Any, Self

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from ..checks import check, check_choice, check_integer
from ..distributions import GaussianMixture
from ..em import initialize
from ..missing_values import mixture_rule
from ..precision import full_precision
from ..programs.names import ObservedRows
from ..programs.traced import Draws
from .base import BayesianModel, check_size
from .covariance_sites import COVARIANCE_SITES
from .data_checks import rows_for
from .draws import beside_rows, check_draws, row_plate
from .learned_sites import LearnedSites
from .mixture_sites import MixtureSites
from .priors import Priors

__all__ = ["BayesianGaussianMixture"]


class BayesianGaussianMixture(BayesianModel):
    r"""A Pyro model of rows from a Gaussian mixture, with its assignments summed out.

    .. math:: w, \mu, \Sigma \sim \mathrm{priors}, \qquad
        x_i \mid w, \mu, \Sigma \sim \sum_{k=1}^K w_k \, \mathcal{N}(\mu_k, \Sigma_k)

    No discrete site is left, so gradients are exact, and autoguides and NUTS work as they are.
    Sites, each where it has a prior: ``weights`` ``(K,)``; ``means`` ``(K, D)``; ``variances``,
    ``(K, D)`` for full and diagonal covariances, ``(D,)`` for tied, ``(K,)`` for spherical ones;
    ``correlations``, the Cholesky factors of the correlation matrices, ``(K, D, D)`` for full and
    ``(D, D)`` for tied covariances, if D > 1; and ``x`` in the plate ``data``. A single component
    has no ``weights``. What has no prior is a parameter in ``learned``; where it is known, set
    it there and call ``learned.requires_grad_(False)``, which a guide's ``start`` leaves alone and
    :func:`pyro_ugmm.saving.save_fitted` keeps.

    The components are exchangeable: the posterior has a mode for each order of theirs. A guide
    finds one of these; chains of NUTS may each find another, unless they start at one:
    ``NUTS(model, init_strategy=init_to_value(values=model.start_values(mixture)))``.

    Args:
        n_components: :math:`K`.
        n_features: :math:`D`.
        covariance: ``"full"``, ``"tied"``, ``"diagonal"`` or ``"spherical"``.
        priors: the priors; by default those for standardized data, weights of
            :math:`\mathrm{Dirichlet}(1, \dots, 1)` included.
        missing: what a NaN in the data means: an ``"error"``, or an entry that was not observed
            (``"marginalize"``).

    A plain autoguide of Pyro starts at means drawn here at random, one for each component, and at
    the variances' unit, which is that of a component's share of the data.

    Raises:
        ValueError: if a number is not a positive integer, the covariance is unknown, or the
            priors are for another number of features.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import BayesianGaussianMixture, Priors
        >>> x = torch.randn(50, 2) + 3
        >>> model = BayesianGaussianMixture(3, 2, "diagonal", priors=Priors.from_data(x))
        >>> model(size=10).shape  # rows from the prior predictive
        torch.Size([10, 2])
    """

    priors: Priors

    @torch.inference_mode(False)  # so that it can be trained, wherever it is made
    def __init__(
        self,
        n_components: int,
        n_features: int,
        covariance: str = "full",
        priors: Priors | None = None,
        *,
        missing: str = "error",
    ) -> None:
        super().__init__()
        n_components = check_integer("n_components", n_components)
        n_features = check_integer("n_features", n_features)
        covariance = check_choice("covariance", covariance, COVARIANCE_SITES)
        mixture_rule(missing)
        priors = Priors() if priors is None else priors
        check(isinstance(priors, Priors), "priors", "Priors", type(priors).__name__)
        priors = priors.resolved(variances=dist.LogNormal(-1.5, 1.5), weights=1.0)
        for name, value in (("center", priors.center), ("spread", priors.spread)):
            fits = value.shape in ((), (n_features,))
            check(fits, f"priors.{name}", f"shape ({n_features},) or ()", tuple(value.shape))
        self.n_components, self.n_features = n_components, n_features
        self.covariance, self.priors, self.missing = covariance, priors, missing
        self._structure = COVARIANCE_SITES[covariance]
        self.sites = MixtureSites(n_components, n_features, covariance, priors)
        self.learned = LearnedSites(self.sites.by_name())

    def site_distributions(self) -> dict[str, dist.TorchDistribution]:
        """The prior of every latent site, by name."""
        sites = self.sites.by_name().items()
        return {name: site.prior for name, site in sites if site.prior is not None}

    def start_values(self, start: GaussianMixture | None = None) -> dict[str, Tensor]:
        """The values where a plain autoguide starts, or those of a mixture such as EM's.

        Where one is not strictly within a prior's support, the support's middle stands in for it.
        """
        values = self.sites.starts() if start is None else self.sites.read(start)
        return self._within_supports(values)

    def take_start(self, start: GaussianMixture) -> None:
        """Copies to ``learned`` what has no prior, unless it does not require gradients."""
        self.learned.take(self.sites.read(start))

    def draw_start(self, *rows: Tensor) -> GaussianMixture:
        """Clusters rows by k-means, from a random start."""
        arguments = {"covariance": self.covariance, "missing": self.missing}
        return initialize(rows[0], self.n_components, **arguments)  # type: ignore[arg-type]

    @full_precision
    def mixture(self, draws: Draws | None = None) -> GaussianMixture:
        """Makes the mixture of values of sites, with the model's own where it has no priors.

        Args:
            draws: values of the latent sites, with any leading dimensions ``P``: the batch shape.
        """
        values, sites = check_draws(draws), self.sites.by_name()
        unknown = sorted(values.keys() - sites.keys())
        check(not unknown, "draws", f"sites among {[*sites]}", unknown)
        for name in self.site_distributions():
            check(name in values, "draws", f"a value of {name}, which has a prior", [*values])
        return self._mixture(values)

    def _mixture(self, draws: Draws) -> GaussianMixture:
        values = {
            name: draws[name] if name in draws else getattr(self.learned, name)
            for name in self.sites.by_name()
        }
        covariance = self._structure.build(values["variances"], values.get("correlations"))
        means = values["means"]
        return GaussianMixture(
            values.get("weights", means.new_ones(1)),
            means,
            covariance,
            missing=self.missing,
            validate_args=False,
        )

    @full_precision
    def __call__(self, x: Any = None, size: int | None = None) -> Tensor:
        """Checks data and runs the program on them."""
        if x is None:
            return super().__call__(size=1 if size is None else check_integer("size", size))
        (x,) = self.check_data(x)
        return super().__call__(x, size=check_size(size, len(x)))

    def forward(self, x: Tensor | None = None, size: int | None = None) -> Tensor:
        """Draws parameters from the priors, and rows from the mixture.

        Args:
            x: observed rows, shape ``(n, D)``; drawn if not given.
            size: the number of rows to draw; or of the full data, if ``x`` is a minibatch of it.
        """
        priors = self.site_distributions()
        draws = {site: pyro.sample(site, prior) for site, prior in priors.items()}
        mixture = self.observation(beside_rows(draws, priors))
        with row_plate(size or 1 if x is None else len(x), size, mixture.means.device):
            return pyro.sample("x", mixture, obs=x)

    def observed_rows(self, *rows: Tensor) -> ObservedRows:
        """All is observed."""
        return ObservedRows({"x": rows[0]})

    @property
    def values_per_row(self) -> int:
        """The deviations from all means."""
        return self.n_components * self.n_features

    def observation(self, draws: Draws, *rows: Tensor) -> GaussianMixture:
        """The mixture, from which all rows come."""
        return self._mixture(draws)

    def check_data(self, x: Any, y: Any = None) -> tuple[Tensor, ...]:
        """Checks the shape and values of rows, and returns them as a tensor.

        Raises:
            ValueError: if they do not have the model's features, dtype and device, or are not
                finite.
        """
        check(y is None, "y", "nothing: a mixture has no labels", type(y).__name__)
        return (rows_for(x, self.sites.center, mixture_rule(self.missing)),)

    def dims(self) -> dict[str, list[str]]:
        """Names the dimensions of every site, and of the data; a single feature needs none."""
        sites = self.sites.by_name().items()
        latent = {name: [*site.dims] for name, site in sites if site.prior is not None}
        data = ["observation", "feature"] if self.n_features > 1 else ["observation"]
        return {"x": data} | latent

    def arguments(self) -> dict[str, Any]:
        """The sizes, the structure and what NaN means."""
        names = ("n_components", "n_features", "covariance", "missing")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_arguments(
        cls, arguments: dict[str, Any], priors: Any, dtype: torch.dtype, state: dict[str, Tensor]
    ) -> Self:
        """Makes a mixture with these arguments and priors."""
        return cls(**arguments, priors=priors).to(dtype)

    def example_rows(self) -> tuple[Tensor, ...]:
        """The center of the data."""
        return (self.sites.center.unsqueeze(0),)

    def __repr__(self) -> str:
        missing = mixture_rule(self.missing).shown
        return (
            f"{type(self).__name__}({self.n_components}, {self.n_features}, "
            f"{self.covariance!r}, priors={self.priors!r}{missing})"
        )
