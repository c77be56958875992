"""Criteria that weigh a mixture's likelihood against its parameters."""

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from ..checks import check
from ..tables import as_table

__all__ = ["InformationCriteria"]


class InformationCriteria:
    """What knows its number of free parameters, and the density of rows."""

    batch_shape: torch.Size

    @property
    @abstractmethod
    def n_parameters(self) -> int:
        """The number of free parameters of one mixture of the batch."""

    @abstractmethod
    def log_prob(self, value: Any) -> Tensor:
        """Evaluates the log density of rows."""

    def aic(self, value: Any) -> float:
        r"""Akaike's criterion for rows ``(n, D)``: :math:`2p - 2 \log L`; the lower the better."""
        return 2.0 * (self.n_parameters - self._log_likelihood(value)[0])

    def bic(self, value: Any) -> float:
        r"""The Bayesian criterion, :math:`p \log n - 2 \log L`; the lower the better."""
        log_likelihood, n_rows = self._log_likelihood(value)
        return self.n_parameters * math.log(max(n_rows, 1)) - 2.0 * log_likelihood

    @torch.no_grad()
    def _log_likelihood(self, value: Any) -> tuple[float, int]:
        check(self.batch_shape.numel() == 1, "mixture", "a batch of one", tuple(self.batch_shape))
        shape = tuple(as_table("value", value).values.shape)
        check(len(shape) == 2, "value", "rows, shape (n, D)", shape)
        return float(self.log_prob(value).sum()), shape[0]
