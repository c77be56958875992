"""What a model answers of its data and of draws, block by block, as arrays."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..programs.joint import joint_of
from ..programs.names import names_of
from ..programs.simulation import simulation_of
from ..programs.sites import sites_of
from ..programs.traced import Rows
from .draws import in_blocks

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
        self.observed = self.names.observed_rows(*rows)
        self._n_dims = len(self.names.dims()[self.observed.name])

    def shapes(self) -> dict[str, torch.Size]:
        """The shapes of sites and of data."""
        sites = sites_of(self._model, self._rows).latent_sites()
        value = self.observed.value
        shape = self._rows[0].shape[:1] if value is None else value.shape
        given = {name: part.shape for name, part in self.observed.given.items()}
        return {
            **{name: site.shape for name, site in sites.items()},
            **given,
            self.observed.name: shape,
        }

    def predictive(self, draws: dict[str, Tensor]) -> np.ndarray:
        """Rows drawn under each draw."""
        simulation = simulation_of(self._model, self._rows)

        def of_some(some: dict[str, Tensor]) -> Tensor:
            return simulation.sample_rows(*self._rows, draws=some)

        return self.as_named(self._in_blocks(of_some, draws), n_leading=1)

    def row_terms(self, draws: dict[str, Tensor]) -> np.ndarray:
        """What each row adds to the log joint density under each draw."""
        return self._in_blocks(lambda some: self.joint.row_terms(*self._rows, draws=some), draws)

    def _in_blocks(self, function: Callable, draws: dict[str, Tensor]) -> np.ndarray:
        return in_blocks(function, draws, len(self._rows[0]) * self.joint.values_per_row)

    def as_named(self, rows: np.ndarray, n_leading: int) -> np.ndarray:
        """Rows without the dimension of a single feature, if that has no name."""
        return rows[..., 0] if rows.ndim - n_leading > self._n_dims else rows
