"""Where guides of a Bayesian mixture start."""

from torch import Tensor

from ..distributions import GaussianMixture
from ..em import initialize
from .base import BayesianModel
from .learned_sites import LearnedSites
from .mixture_sites import MixtureSites
from .row_knowledge import ROW_KNOWLEDGE

__all__ = ["MixtureStarts"]


class MixtureStarts(BayesianModel):
    """A model whose starts are mixtures such as EM's."""

    sites: MixtureSites
    learned: LearnedSites
    n_components: int
    covariance: str
    rank: int | None
    missing: str
    given: str | None

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
        known = ROW_KNOWLEDGE[self.given].of_start(*rows[1:])
        return initialize(
            rows[0],
            self.n_components,
            self.covariance,
            rank=self.rank,
            missing=self.missing,
            **known,
        )
