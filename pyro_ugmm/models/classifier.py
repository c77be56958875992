"""The classifier whose last layer has a neuron for each class."""

from typing import Any

from torch import Tensor

from ..nn import UGMMNetwork
from ..nn.network import check_network
from ..programs.traced import Draws
from .label_model import LabelModel
from .priors import Priors

__all__ = ["UGMMClassifier"]


class UGMMClassifier(LabelModel):
    r"""A Pyro model of class labels, whose probabilities are a network's normalized scores.

    .. math:: \theta \sim \mathrm{priors}, \qquad
        y_i \mid x_i, \theta \sim \mathrm{Categorical}(\mathrm{softmax}(h_\theta(x_i)))

    Sites: ``layers.{i}.loc``, ``layers.{i}.variance`` and ``layers.{i}.weights``, each of shape
    ``(J, K)``, where they have priors; ``y`` in the plate ``data``. What has no prior is a
    parameter of the model's ``network``, which ``fit_mle`` and ``fit_svi`` learn; the others are
    read, never changed. Dropout acts only on layers without priors.

    Args:
        network: the network, whose last layer has one neuron per class.
        priors: the priors, or None: nothing to infer, all is learned by maximum likelihood.
        copy: whether the model takes a copy of the network, and leaves the one given as it is.

    Attributes:
        network: the network that is trained.

    Raises:
        ValueError: if the priors' ``center`` or ``spread`` do not fit the network's features, or
            what it was initialized for.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import Priors, UGMMClassifier
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> model = UGMMClassifier(UGMMNetwork([4, 8, 3]), priors=Priors())
        >>> model(torch.randn(10, 4)).shape  # labels drawn from the prior predictive
        torch.Size([10])
    """

    def __init__(
        self, network: UGMMNetwork, priors: Priors | None = None, *, copy: bool = True
    ) -> None:
        check_network(network)
        super().__init__(network, priors, n_classes=network.sizes[-1], copy=copy)

    def scores(self, x: Any, draws: Draws | None = None) -> Tensor:
        """Evaluates the network: scores of rows ``(n, K)``, shape ``(n, C)`` or ``(S, n, C)``.

        Draws are values of sites, shape ``P + (J, K)`` with ``P`` broadcasting to ``(S, 1)``.
        """
        return self._evaluate(self._features(x), draws)
