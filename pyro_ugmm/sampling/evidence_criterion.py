"""The evidence of Bayesian mixtures, as a criterion of selection."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..checks import check, check_choice
from ..models import BayesianGaussianMixture, Priors
from ..models.covariance_sites import COVARIANCE_SITES
from ..tables import as_table
from .posterior import sample_posterior
from .result import PosteriorSample

__all__ = ["Evidence"]


@dataclass(frozen=True)
class Evidence:
    """Judges numbers of components, and structures, by the evidence of Bayesian mixtures.

    Args:
        priors: of all mixtures; ``Priors.from_data(x)`` if None.
        num_particles: of each run of :func:`sample_posterior`.
        num_populations: of each.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import select
        >>> from pyro_ugmm.models import Priors
        >>> from pyro_ugmm.sampling import Evidence
        >>> x = torch.randn(20, 1)
        >>> criterion = Evidence(Priors.from_data(x), num_particles=64)
        >>> selection = select(x, 1, ["full", "tied"], criterion=criterion, seed=0)
        >>> len(selection.probabilities)
        2
    """

    priors: Priors | None = None
    num_particles: int = 256
    num_populations: int = 4

    def models(
        self, x: Any, trials: Sequence[tuple[str, int, int | None]], missing: str
    ) -> list[BayesianGaussianMixture]:
        """Makes mixtures for rows ``x`` of structures, numbers of components and ranks.

        Raises:
            ValueError: if a structure has no priors, or the rows are none of a mixture.
        """
        for structure, *_ in trials:
            check_choice("covariance", structure, COVARIANCE_SITES)
        shape = tuple(as_table("x", x).values.shape)
        check(len(shape) == 2, "x", "shape (n, D), of one feature (n, 1)", shape)
        priors = Priors.from_data(x) if self.priors is None else self.priors
        models = [
            BayesianGaussianMixture(size, shape[1], structure, priors, rank=rank, missing=missing)
            for structure, size, rank in trials
        ]
        models[0].check_data(x)
        return models

    def sample(self, model: BayesianGaussianMixture, x: Any, seed: int | None) -> PosteriorSample:
        """Samples the posterior of one of them."""
        return sample_posterior(
            model,
            x,
            num_particles=self.num_particles,
            num_populations=self.num_populations,
            seed=seed,
            progress=False,
        )
