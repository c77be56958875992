"""The Bayesian Gaussian mixture."""

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from ..checks import check, check_choice, check_integer
from ..distributions import GaussianMixture
from ..distributions.covariance import STRUCTURES
from ..missing_values import mixture_rule
from ..precision import full_precision
from ..programs.names import ObservedRows
from ..programs.traced import Draws
from .base import check_size
from .covariance_sites import COVARIANCE_SITES
from .data_checks import rows_for
from .draws import beside_rows, check_draws, row_plate
from .learned_sites import LearnedSites
from .mixture_sites import MixtureSites
from .mixture_starts import MixtureStarts
from .priors import Priors
from .row_knowledge import ROW_KNOWLEDGE

__all__ = ["BayesianGaussianMixture"]


class BayesianGaussianMixture(MixtureStarts):
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

    Of low rank, ``variances`` ``(K, D)`` :math:`\sigma^2` are the features', as of full
    covariances, and ``loadings`` ``(K, D, R)`` :math:`U` are in units of the noise that is left:
    :math:`\Sigma = V^{1/2} (I + U U^T) V^{1/2}` with
    :math:`v_d = \sigma_d^2 / (1 + \lVert u_d \rVert^2)`. They are known but for a rotation.

    The components are exchangeable: the posterior has a mode for each order of theirs. A guide
    finds one of these; chains of NUTS may each find another, unless they start at one:
    ``NUTS(model, init_strategy=init_to_value(values=model.start_values(mixture)))``.

    Args:
        n_components: :math:`K`.
        n_features: :math:`D`.
        covariance: ``"full"``, ``"tied"``, ``"diagonal"``, ``"spherical"`` or ``"low_rank"``.
        priors: the priors; by default those for standardized data, weights of
            :math:`\mathrm{Dirichlet}(1, \dots, 1)` included.
        rank: :math:`R`, of ``"low_rank"``, at most the number of features.
        missing: what a NaN in the data means: an ``"error"``, or an entry that was not observed
            (``"marginalize"``).
        given: what comes with the rows as ``y``: their component where it is known and -1
            elsewhere (``"labels"``), or the variances ``(n, D)`` or covariances ``(n, D, D)`` of
            errors with which they were measured and which the mixture is without (``"noise"``).

    A plain autoguide of Pyro starts at means drawn here at random, one for each component, and at
    the variances' unit, which is that of a component's share of the data.

    Raises:
        ValueError: if a number is not a positive integer, the covariance is unknown, the rank
            does not fit it, or the priors are for another number of features.

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
        rank: int | None = None,
        missing: str = "error",
        given: str | None = None,
    ) -> None:
        super().__init__()
        check(given in [*ROW_KNOWLEDGE], "given", f"one of {[*ROW_KNOWLEDGE]}", repr(given))
        n_components = check_integer("n_components", n_components)
        n_features = check_integer("n_features", n_features)
        covariance = check_choice("covariance", covariance, COVARIANCE_SITES)
        rank = STRUCTURES[covariance].checked_rank(rank, n_features)
        mixture_rule(missing)
        priors = Priors() if priors is None else priors
        check(isinstance(priors, Priors), "priors", "Priors", type(priors).__name__)
        priors = priors.resolved(variances=dist.LogNormal(-1.5, 1.5), weights=1.0)
        for name, value in (("center", priors.center), ("spread", priors.spread)):
            fits = value.shape in ((), (n_features,))
            check(fits, f"priors.{name}", f"shape ({n_features},) or ()", tuple(value.shape))
        self.n_components, self.n_features = n_components, n_features
        self.covariance, self.rank, self.priors = covariance, rank, priors
        self.missing, self.given = missing, given
        self._structure = COVARIANCE_SITES[covariance]
        self.sites = MixtureSites(n_components, n_features, covariance, priors, rank)
        self.learned = LearnedSites(self.sites.by_name())

    def site_distributions(self) -> dict[str, dist.TorchDistribution]:
        """The prior of every latent site, by name."""
        sites = self.sites.by_name().items()
        return {name: site.prior for name, site in sites if site.prior is not None}

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
        means = values["means"]
        return GaussianMixture(
            values.get("weights", means.new_ones(1)),
            means,
            self._structure.build(values),
            missing=self.missing,
            validate_args=False,
        )

    @full_precision
    def __call__(self, x: Any = None, y: Any = None, size: int | None = None) -> Tensor:
        """Checks data and runs the program on them."""
        if x is None:
            n_rows = 1 if size is None else check_integer("size", size)
            known = ROW_KNOWLEDGE[self.given].of_drawn(y, size, self.sites.start_means)
            return super().__call__(None, *known, size=n_rows)
        rows = self.check_data(x, y)
        return super().__call__(*rows, size=check_size(size, len(rows[0])))

    def forward(
        self, x: Tensor | None = None, y: Tensor | None = None, size: int | None = None
    ) -> Tensor:
        """Draws parameters from the priors, and rows from the mixture.

        Args:
            x: observed rows, shape ``(n, D)``; drawn if not given.
            y: what is given of them beside their values.
            size: the number of rows to draw; or of the full data, if ``x`` is a minibatch of it.
        """
        priors = self.site_distributions()
        draws = {site: pyro.sample(site, prior) for site, prior in priors.items()}
        rows: list[Any] = [x] if y is None else [x, y]
        mixture, some = self.observation(beside_rows(draws, priors), *rows), y if x is None else x
        n_rows = size or 1 if some is None else len(some)
        with row_plate(n_rows, None if x is None else size, mixture.means.device):
            return pyro.sample("x", mixture, obs=x)

    def observed_rows(self, *rows: Tensor) -> ObservedRows:
        """Rows are observed, whatever is given of them beside their values."""
        return ObservedRows({"x": rows[0]}, {str(self.given): y for y in rows[1:]})

    @property
    def values_per_row(self) -> int:
        """The deviations from all means."""
        return self.n_components * self.n_features

    def observation(self, draws: Draws, *rows: Tensor) -> GaussianMixture:
        """The mixture, from which all rows come; or those of each, as far as it is known."""
        mixture, known = self._mixture(draws), rows[1:]
        return ROW_KNOWLEDGE[self.given].observation(mixture, *known) if known else mixture

    def terms_beside(self, draws: Draws, *rows: Tensor) -> Tensor:
        """Evaluates ``row_terms`` under draws that are ``(S, 1)``, or one."""
        return self.observation(draws, *rows).log_prob(rows[0])

    def check_data(self, x: Any, y: Any = None) -> tuple[Tensor, ...]:
        """Checks the shape and values of rows, and returns them as a tensor.

        Raises:
            ValueError: if they do not have the model's features, dtype and device, or are not
                finite.
        """
        x = rows_for(x, self.sites.center, mixture_rule(self.missing))
        return x, *ROW_KNOWLEDGE[self.given].checked(y, tuple(x.shape), x, self.n_components)

    def dims(self) -> dict[str, list[str]]:
        """Names the dimensions of every site, and of the data; a single feature needs none."""
        sites = self.sites.by_name().items()
        latent = {name: [*site.dims] for name, site in sites if site.prior is not None}
        data = ["observation", "feature"] if self.n_features > 1 else ["observation"]
        return {"x": data} | latent | ROW_KNOWLEDGE[self.given].dims

    def arguments(self) -> dict[str, Any]:
        """The sizes, the structure and what NaN means."""
        names = ("n_components", "n_features", "covariance", "rank", "missing", "given")
        return {name: getattr(self, name) for name in names}

    def example_rows(self) -> tuple[Tensor, ...]:
        """The center of the data, of which no more is known."""
        x = self.sites.center.unsqueeze(0)
        return x, *ROW_KNOWLEDGE[self.given].none(x)

    def __repr__(self) -> str:
        sizes = f"{self.n_components}, {self.n_features}, {self.covariance!r}"
        rank = "" if self.rank is None else f", rank={self.rank}"
        missing = mixture_rule(self.missing).shown
        given = "" if self.given is None else f", given={self.given!r}"
        return f"{type(self).__name__}({sizes}{rank}, priors={self.priors!r}{missing}{given})"
