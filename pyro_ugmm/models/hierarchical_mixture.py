"""The Gaussian mixture of many groups, whose components are alike in all."""

import math
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from ..checks import check, check_choice, check_integer, check_number
from ..distributions import GaussianMixture
from ..distributions.covariance import STRUCTURES
from ..em import initialize
from ..missing_values import mixture_rule
from ..precision import full_precision
from ..programs.names import ObservedRows
from ..programs.traced import Draws
from ..tables import as_labels
from .base import BayesianModel, check_size
from .covariance_sites import COVARIANCE_SITES
from .data_checks import labels_for, rows_for
from .draws import beside_rows, row_plate
from .gaussian_mixture import BayesianGaussianMixture
from .group_sites import GroupSites
from .priors import Priors

__all__ = ["HierarchicalGaussianMixture"]


class HierarchicalGaussianMixture(BayesianModel):
    r"""A Pyro model of rows in groups: mixtures whose means are drawn around common ones.

    .. math:: \mu_{gk} = \mu_k + \tau_k z_{gk}, \quad z_{gk} \sim \mathcal{N}(0, I), \quad
        w_g \sim \mathrm{Dirichlet}(\alpha, \dots, \alpha)

    .. math:: x_i \mid g_i \sim \sum_{k=1}^K w_{g_i k} \, \mathcal{N}(\mu_{g_i k}, \Sigma_k)

    Groups learn from each other, and the more so the fewer rows they have (partial pooling): one
    that has no row of a component knows its mean from the others. Sites: ``means`` ``(K, D)``;
    ``group_scales`` :math:`\tau`, ``(K, D)``; ``offsets`` :math:`z`, ``(G, K, D)``; ``weights``
    ``(G, K)``; ``variances`` and ``correlations``, which the groups share, as in
    :class:`BayesianGaussianMixture`; and ``x`` in the plate ``data``. All have priors, independent
    of each other.

    Args:
        n_groups: :math:`G`.
        n_components: :math:`K`, two or more.
        n_features: :math:`D`.
        covariance: ``"full"``, ``"tied"``, ``"diagonal"`` or ``"spherical"``.
        priors: as of :class:`BayesianGaussianMixture`.
        group_scale: the scale of the half-normal prior of :math:`\tau`, in units of the standard
            deviation of a component's share of the data.
        missing: what a NaN in the data means, as of :class:`BayesianGaussianMixture`.

    Raises:
        ValueError: if a number is not a positive integer, the covariance is unknown, or a prior is
            None or for another number of features.

    Source: Gelman and others (2013), *Bayesian data analysis*, chapters 5 and 22; for offsets in
    place of means, Papaspiliopoulos, Roberts and Sköld (2007), *A general framework for the
    parametrization of hierarchical models*.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import HierarchicalGaussianMixture
        >>> model = HierarchicalGaussianMixture(n_groups=5, n_components=2, n_features=3)
        >>> groups = torch.arange(5).repeat(4)
        >>> model(groups=groups).shape  # rows of these groups, from the prior predictive
        torch.Size([20, 3])
    """

    priors: Priors

    @torch.inference_mode(False)
    def __init__(
        self,
        n_groups: int,
        n_components: int,
        n_features: int,
        covariance: str = "diagonal",
        priors: Priors | None = None,
        *,
        group_scale: float = 1.0,
        missing: str = "error",
    ) -> None:
        super().__init__()
        self.n_groups = check_integer("n_groups", n_groups)
        self.n_components = check_integer("n_components", n_components, minimum=2)
        names = [name for name in COVARIANCE_SITES if not STRUCTURES[name].has_rank]
        covariance = check_choice("covariance", covariance, names)
        one = BayesianGaussianMixture(n_components, n_features, covariance, priors, missing=missing)
        self.missing = missing
        self.n_features, self.covariance, self.priors = one.n_features, covariance, one.priors
        self._structure = COVARIANCE_SITES[covariance]
        learned = [name for name, site in one.sites.by_name().items() if site.prior is None]
        check(not learned, "priors", "priors of all sites", f"None for {learned}")
        expected = "a positive number"
        self.group_scale = check_number(
            "group_scale", group_scale, lambda scale: 0 < scale < math.inf, expected
        )
        self.sites = GroupSites(self.n_groups, one.sites, one.priors.weights, self.group_scale)

    def site_distributions(self) -> dict[str, dist.TorchDistribution]:
        """The prior of every latent site, by name."""
        return self.sites.priors()

    def start_values(self, start: GaussianMixture | None = None) -> dict[str, Tensor]:
        """The values where a plain autoguide starts, or those of the groups' own mixtures.

        Args:
            start: of batch shape ``(G,)``, such as that of :func:`pyro_ugmm.em.fit_groups` from one
                ``start`` for all groups, so that their components are in the same order; or
                of one mixture for all groups.
        """
        values = self.sites.starts() if start is None else self.sites.read(start)
        return self._within_supports(values)

    def take_start(self, start: GaussianMixture) -> None:
        """Nothing is learned beside the sites."""

    def draw_start(self, *rows: Tensor) -> GaussianMixture:
        """Clusters the rows of all groups by k-means, from a random start."""
        return initialize(
            rows[0], self.n_components, covariance=self.covariance, missing=self.missing
        )

    @full_precision
    def mixture(self, draws: Draws) -> GaussianMixture:
        """Makes the groups' mixtures, of batch shape ``(G,)``, or ``(S, G)`` of draws ``(S,)``."""
        draws = beside_rows(self._check_draws(draws), self.site_distributions())
        groups = torch.arange(self.n_groups, device=self.sites.unit.device)
        return self._of_groups(draws, groups)

    def _of_groups(self, draws: Draws, groups: Tensor) -> GaussianMixture:
        """The mixtures of groups ``(n,)``, of which some may be the same."""
        covariance = self._structure.build(draws)
        offsets = draws["offsets"].index_select(-3, groups)
        weights = draws["weights"].index_select(-2, groups)
        if weights.dim() > 2:  # of draws (S, 1), which have the room that the groups take
            offsets, weights = offsets.squeeze(-4), weights.squeeze(-3)
        means = draws["means"] + draws["group_scales"] * offsets
        return GaussianMixture(
            weights, means, covariance, missing=self.missing, validate_args=False
        )

    @full_precision
    def __call__(self, x: Any = None, groups: Any = None, size: int | None = None) -> Tensor:
        """Checks data and runs the program on them."""
        check(groups is not None, "groups", "the group of each row", "None")
        if x is None:
            n_rows = as_labels("groups", groups).shape[:1]
            groups = self._checked_groups(groups, self.sites.unit.new_zeros(*n_rows, 0))
        else:
            x, groups = self.check_data(x, groups)
        return super().__call__(x, groups, size=check_size(size, len(groups)))

    def forward(self, x: Tensor | None, groups: Tensor, size: int | None = None) -> Tensor:
        """Draws parameters from the priors, and rows from their groups' mixtures.

        Args:
            x: observed rows, shape ``(n, D)``; drawn if None.
            groups: the group of each row, shape ``(n,)``, integers from 0 to G - 1.
            size: the number of rows of the full data, if these are a minibatch of it.
        """
        priors = self.site_distributions()
        draws = {site: pyro.sample(site, prior) for site, prior in priors.items()}
        mixture = self._of_groups(beside_rows(draws, priors), groups)
        with row_plate(len(groups), size, groups.device):
            return pyro.sample("x", mixture, obs=x)

    def observed_rows(self, *rows: Tensor) -> ObservedRows:
        """Rows are observed, given their groups."""
        return ObservedRows({"x": rows[0]}, {"groups": rows[1]})

    @property
    def values_per_row(self) -> int:
        """The deviations from all means."""
        return self.n_components * self.n_features

    def observation(self, draws: Draws, *rows: Tensor) -> GaussianMixture:
        """The mixture of each row's group."""
        return self._of_groups(draws, rows[1])

    def terms_beside(self, draws: Draws, *rows: Tensor) -> Tensor:
        """Evaluates ``row_terms`` under draws that are ``(S, 1)``, or one."""
        return self.observation(draws, *rows).log_prob(rows[0])

    def check_data(self, x: Any, y: Any = None) -> tuple[Tensor, ...]:
        """Checks the shapes and values of rows and their groups, and returns them as tensors.

        Raises:
            ValueError: if they do not fit the model, or a group is not one of its.
        """
        x = rows_for(x, self.sites.common.center, mixture_rule(self.missing))
        check(y is not None, "groups", "the group of each row", "None")
        return x, self._checked_groups(y, x)

    def _checked_groups(self, groups: Any, x: Tensor) -> Tensor:
        return labels_for(groups, x, self.n_groups, name="groups")

    def dims(self) -> dict[str, list[str]]:
        """Names the dimensions of every site, and of the data; a single feature needs none."""
        data = ["observation", "feature"] if self.n_features > 1 else ["observation"]
        return {"x": data, "groups": ["observation"]} | self.sites.dims()

    def arguments(self) -> dict[str, Any]:
        """The sizes and the structure."""
        names = ("n_groups", "n_components", "n_features", "covariance", "group_scale", "missing")
        return {name: getattr(self, name) for name in names}

    def example_rows(self) -> tuple[Tensor, ...]:
        """The center of the data, in the first group."""
        x = self.sites.common.center.unsqueeze(0)
        return x, torch.zeros(1, dtype=torch.long, device=x.device)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.n_groups}, {self.n_components}, {self.n_features}, "
            f"{self.covariance!r}, priors={self.priors!r}, group_scale={self.group_scale:g}"
            f"{mixture_rule(self.missing).shown})"
        )
