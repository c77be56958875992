"""Posteriors without rows, and the mixture of them that one run of sampling draws from."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..programs.joint import LogJoint, joint_of
from ..programs.parameters import signature_of
from ..programs.simulation import Simulation, simulation_of
from ..programs.sites import LatentSite, LatentSites, sites_of
from ..programs.traced import Draws, Rows

__all__ = ["MixtureOfLeftOut", "WithoutRows", "rows_of"]


def rows_of(rows: Rows, taken: np.ndarray) -> Rows:
    """Some of the rows, ``(n,)`` of which say whether they are taken.

    Arguments that have no such dimension are taken whole.
    """
    return tuple(
        part[torch.as_tensor(taken, device=part.device)]
        if isinstance(part, Tensor) and part.shape[:1] == (len(taken),)
        else part
        for part in rows
    )


class _OfRows(LatentSites, LogJoint, Simulation):
    """A program with other terms of its rows."""

    has_likelihood = True

    def __init__(self, model: Callable, rows: Rows) -> None:
        self._model, self._joint = model, joint_of(model, rows)
        self._sites, self._simulation = sites_of(model, rows), simulation_of(model, rows)
        self.__signature__ = signature_of(model)  # by which arguments have names

    def __call__(self, *rows: Tensor, **options: Any) -> Any:
        """Runs the program itself."""
        return self._model(*rows, **options)

    @abstractmethod
    def _weighed(self, terms: Tensor) -> Tensor:
        """What is made of the program's terms ``(S, n)``."""

    def row_terms(self, *rows: Tensor, draws: Draws | None = None) -> Tensor:
        """The rows' terms."""
        terms = self._joint.site_terms(*rows, draws=draws or {}).values()
        return self._weighed(torch.stack([*terms]).sum(0))

    def site_terms(self, *rows: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The same, by one name for all that is observed."""
        return {"rows": self.row_terms(*rows, draws=draws)}

    @property
    def values_per_row(self) -> int:
        """As the program says."""
        return self._joint.values_per_row

    def log_prior(self, draws: Draws) -> Tensor:
        """That of the program."""
        return self._joint.log_prior(draws)

    def latent_sites(self) -> dict[str, LatentSite]:
        """Those of the program."""
        return self._sites.latent_sites()

    def start_values(self, start: Any = None) -> dict[str, Tensor]:
        """Those of the program."""
        return self._sites.start_values(start)

    def take_start(self, start: Any) -> None:
        """As the program does."""
        self._sites.take_start(start)

    def sample_prior(self, num_samples: int) -> dict[str, Tensor]:
        """Draws of the program."""
        return self._simulation.sample_prior(num_samples)

    def sample_rows(self, *rows: Tensor, draws: Draws) -> dict[str, Tensor]:
        """Rows of the program."""
        return self._simulation.sample_rows(*rows, draws=draws)


class WithoutRows(_OfRows):
    """A program that does not look at some of its rows, though they keep sites of their own.

    Args:
        model: the program.
        rows: its data.
        left_out: which rows it does not look at, shape ``(n,)``.
    """

    def __init__(self, model: Callable, rows: Rows, left_out: np.ndarray) -> None:
        super().__init__(model, rows)
        self._left_out = torch.as_tensor(left_out)

    def _weighed(self, terms: Tensor) -> Tensor:
        return terms.masked_fill(self._left_out.to(terms.device), 0)


class MixtureOfLeftOut(_OfRows):
    r"""A program whose posterior is a mixture of a posterior and of those without groups of rows.

    .. math:: q(\theta) \propto p(\theta \mid y)
        \Bigl(1 + \sum_g \frac{\alpha_g}{p(y_g \mid \theta)}\Bigr)

    With :math:`\alpha_g = p(y_g \mid y_{-g})` all have the same share; any other leaves the weights
    :math:`p(\theta \mid y_{-g}) / q(\theta)` bounded, too. Source: Silva and Zanella (2022),
    *Robust leave-one-out cross-validation for high-dimensional Bayesian models*, where groups are
    rows, all :math:`\alpha_g` are one, and the posterior itself is none of them.

    Args:
        model: the program.
        rows: its data.
        groups: the rows' groups, shape ``(n,)``: integers from 0 to G - 1, and G of rows that are
            never left out.
        log_alpha: an estimate of :math:`\log p(y_g \mid y_{-g})` for each, shape ``(G,)``.
    """

    def __init__(
        self, model: Callable, rows: Rows, groups: np.ndarray, log_alpha: np.ndarray
    ) -> None:
        super().__init__(model, rows)
        self._groups, self._log_alpha = torch.as_tensor(groups), torch.as_tensor(log_alpha)

    def log_gain(self, terms: Tensor) -> Tensor:
        """How much denser the mixture is than the posterior, of rows' terms ``(S, n)``: ``(S,)``.

        Up to a constant.
        """
        sums = terms.new_zeros(*terms.shape[:-1], len(self._log_alpha) + 1)
        sums = sums.index_add(-1, self._groups.to(terms.device), terms)
        gains = self._log_alpha.to(terms) - sums[..., :-1]
        return torch.logaddexp(gains.new_zeros(()), gains.logsumexp(-1))

    def _weighed(self, terms: Tensor) -> Tensor:
        """With what the mixture gains spread over them."""
        return terms + self.log_gain(terms).unsqueeze(-1) / terms.shape[-1]
