"""What a model answers of its data and of draws, block by block, as arrays."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from ..checks import check
from ..programs.deterministic import Deterministic
from ..programs.joint import joint_of
from ..programs.names import names_of
from ..programs.simulation import simulation_of
from ..programs.sites import sites_of
from ..programs.traced import Rows, count_rows
from .draws import in_blocks
from .pointwise import IN_A_PLATE

__all__ = ["Answers"]


class Answers:
    """The answers of a model.

    Args:
        model: the model.
        rows: its data.
    """

    def __init__(self, model: Callable, rows: Rows) -> None:
        self._model, self._rows = model, rows
        self.joint, self.names = joint_of(model, rows), names_of(model, rows)
        self._simulation = simulation_of(model, rows)
        self._deterministic = Deterministic(model, rows)
        data = self.names.observed_rows(*rows)
        self._data = data
        self.dims = self.names.dims()
        self.given = {name: part.cpu().numpy() for name, part in data.given.items()}
        self.has_observations = all(value is not None for value in data.values.values())

    def observed(self) -> dict[str, np.ndarray]:
        """What was observed, by site."""
        values = {name: v.cpu().numpy() for name, v in self._data.values.items() if v is not None}
        return self._as_named(values, 0)

    def shapes(self) -> dict[str, torch.Size]:
        """The shapes of sites and of data."""
        sites = sites_of(self._model, self._rows).latent_sites()
        n_rows = torch.Size([count_rows(self._rows)])
        values = self._data.values.items()
        return {
            **{name: site.shape for name, site in sites.items()},
            **self._deterministic.shapes(),
            **{name: part.shape for name, part in self._data.given.items()},
            **{name: n_rows if value is None else value.shape for name, value in values},
        }

    def prior(self, num_samples: int) -> dict[str, Tensor]:
        """Draws of latent sites from the prior."""
        return self._simulation.sample_prior(num_samples)

    def sites(self, draws: dict[str, Tensor]) -> dict[str, np.ndarray]:
        """The values of all sites, deterministic ones included."""

        def of_some(some: dict[str, Tensor]) -> dict[str, Tensor]:
            return some | dict(self._deterministic.values(some))

        return self._in_blocks(of_some, draws)

    def predictive(self, draws: dict[str, Tensor]) -> dict[str, np.ndarray]:
        """Rows drawn under each draw, by observed site."""

        def of_some(some: dict[str, Tensor]) -> Mapping[str, Tensor]:
            return self._simulation.sample_rows(*self._rows, draws=some)

        return self._as_named(self._in_blocks(of_some, draws), 1)

    def densities(self, draws: dict[str, Tensor]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The log joint density of each draw, and what rows add to it, by observed site."""
        terms = self._site_terms(draws)
        log_p = self.joint.log_prior(draws).cpu().numpy().astype(np.float64)
        for term in terms.values():
            log_p = log_p + term.reshape(len(term), -1).sum(-1, dtype=np.float64)
        return log_p, terms

    def row_terms(self, draws: dict[str, Tensor]) -> np.ndarray:
        """What rows add to it, ``(S, n)``, of all observed sites together.

        Raises:
            ValueError: if these are not of the same rows, in one plate.
        """
        terms = self._site_terms(draws)
        plates = {name: self.dims[name][: term.ndim - 1] for name, term in terms.items()}
        one = min(plates.values())
        fits = len(one) == 1 and all(own == one for own in plates.values())
        expected = f"what is observed of rows {IN_A_PLATE}"
        check(fits, "model", expected, f"sites in plates {plates}")
        return np.sum([*terms.values()], 0)

    def _site_terms(self, draws: dict[str, Tensor]) -> dict[str, np.ndarray]:
        def of_some(some: dict[str, Tensor]) -> dict[str, Tensor]:
            return self.joint.site_terms(*self._rows, draws=some)

        return self._in_blocks(of_some, draws)

    def _in_blocks(self, function: Callable, draws: dict[str, Tensor]) -> dict[str, np.ndarray]:
        return in_blocks(function, draws, count_rows(self._rows) * self.joint.values_per_row)

    def _as_named(self, values: dict[str, np.ndarray], n_leading: int) -> dict[str, np.ndarray]:
        """Rows without the dimension of a single feature, if that has no name."""
        named = {}
        for name, rows in values.items():
            is_single = rows.ndim - n_leading > len(self.dims[name])
            named[name] = rows[..., 0] if is_single else rows
        return named
