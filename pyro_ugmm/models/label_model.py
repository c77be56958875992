"""What Bayesian models of labels by uGMM networks share."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from ..nn import UGMMNetwork
from ..programs.traced import Draws
from .data_checks import labels_for
from .draws import beside_rows
from .network_model import NetworkModel
from .priors import Priors

__all__ = ["LabelModel"]


def _log_shares(scores: Tensor, labels: Tensor) -> Tensor:
    """The log probabilities of labels ``(n,)``, given scores ``(n, C)`` or ``(S, n, C)``.

    As those of a categorical distribution, but with the classes of many draws before the rows,
    which torch reduces faster than a last dimension of a few.
    """
    target = labels.long().expand(scores.shape[:-1])
    by_class = scores.movedim(-1, 1) if scores.dim() > 2 else scores
    return -torch.nn.functional.cross_entropy(by_class, target, reduction="none")


class LabelModel(NetworkModel):
    """A network with priors over its layers, whose scores say how probable labels are.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import UGMMClassifier
        >>> from pyro_ugmm.models.label_model import LabelModel
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> model = UGMMClassifier(UGMMNetwork([2, 4, 3]))
        >>> isinstance(model, LabelModel), model.class_probabilities(torch.randn(10, 2), {}).shape
        (True, torch.Size([10, 3]))
    """

    def __init__(
        self, network: UGMMNetwork, priors: Priors | None, n_classes: int, *, copy: bool = True
    ) -> None:
        super().__init__(network, priors, copy=copy)
        self.n_classes = n_classes

    def observation_of(self, scores: Tensor, draws: Draws) -> dist.TorchDistribution:
        """The distribution of the labels of rows with such scores."""
        return dist.Categorical(logits=scores, validate_args=False)

    def check_observed(self, y: Any, x: Tensor) -> Tensor:
        """Checks that there is a label for each row, and returns them as a tensor of integers."""
        return labels_for(y, x, self.n_classes, hint=" (UGMMRegressor takes continuous targets)")

    def terms_beside(self, draws: Draws, *rows: Tensor) -> Tensor:
        """Evaluates ``row_terms`` under draws that are ``(S, 1)``, or one."""
        if not self.has_likelihood:
            return super().terms_beside(draws, *rows)
        return _log_shares(self.scores(rows[0], draws), rows[1])

    def class_probabilities(self, x: Tensor, draws: Draws) -> Tensor:
        """The probabilities of labels of rows that were checked, ``(n, C)`` or ``(S, n, C)``."""
        return self.scores(x, beside_rows(draws, self.site_distributions())).softmax(-1)
