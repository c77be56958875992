"""The network whose root scores features and a label together."""

from dataclasses import replace
from typing import Any, Self

import pyro.distributions as dist
import torch
from torch import Tensor

from ..checks import check, check_choice, check_integer
from ..nn import UGMMNetwork
from ..nn.network import check_network
from ..programs.traced import Draws
from .label_model import LabelModel
from .priors import Priors

__all__ = ["UGMMDensity"]

_OBJECTIVES = ("conditional", "score")


class _ScoredLabels(dist.Categorical):
    """Labels with their scores in the place of log probabilities; drawn in proportion to them."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__(logits=scores, validate_args=False)
        self.scores = scores

    def expand(self, batch_shape, _instance=None):
        return _ScoredLabels(self.scores.expand(*batch_shape, -1))

    def log_prob(self, value: Tensor) -> Tensor:
        value, scores = torch.broadcast_tensors(value.long().unsqueeze(-1), self.scores)
        return scores.gather(-1, value[..., :1]).squeeze(-1)


class UGMMDensity(LabelModel):
    r"""A Pyro model of labels by a network whose one root scores features and label together.

    .. math:: s_\theta(x, y) = h_\theta\bigl([x, e(y)]\bigr), \qquad
        p(y \mid x, \theta) = \frac{\exp s_\theta(x, y)}{\sum_{y'} \exp s_\theta(x, y')}

    The label enters as one more input, :math:`e(y)`: its number, standardized. Given the
    features, the probabilities of labels are exact, whichever the objective:

    - ``"conditional"`` maximizes them, or infers from them: a likelihood like any other.
    - ``"score"`` maximizes the root's score of the rows itself, as the paper does under the name
      of a log-likelihood. It is none: the score's exponential has no finite integral over
      features, so there is nothing that would normalize it, and without a floor under the scales
      or priors it has no maximum. With priors it gives a generalized posterior (Bissiri, Holmes
      and Walker 2016, arXiv:1306.6430). There is no log-likelihood, and no LOO, of it.

    Sites are those of :class:`UGMMClassifier`.

    Args:
        network: the network, with an input for each feature and one for the label, and one root.
        n_classes: the number of labels.
        priors: the priors, or None. A ``center`` and ``spread`` are the features'; the label has
            zero and one.
        objective: what is maximized, or inferred from.
        copy: whether the model takes a copy of the network, and leaves the one given as it is.

    Attributes:
        network: the network that is trained.

    Raises:
        ValueError: if the network does not have one output, or not two inputs or more; the
            objective is unknown; or the priors do not fit.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import Priors, UGMMDensity
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> model = UGMMDensity(UGMMNetwork([5, 10, 5, 1]), n_classes=3, priors=Priors())
        >>> model.scores(torch.randn(10, 4)).shape
        torch.Size([10, 3])
    """

    _feature_dim, _output_dim = "feature", "root"
    label_codes: Tensor

    @torch.inference_mode(False)
    def __init__(
        self,
        network: UGMMNetwork,
        n_classes: int,
        priors: Priors | None = None,
        *,
        objective: str = "conditional",
        copy: bool = True,
    ) -> None:
        check_network(network)
        n_classes = check_integer("n_classes", n_classes, minimum=2)
        sizes, expected = network.sizes, "two inputs or more, the last for the label, and one root"
        check(sizes[-1] == 1 and sizes[0] >= 2, "network", expected, f"sizes {sizes}")
        objective = check_choice("objective", objective, _OBJECTIVES)
        if isinstance(priors, Priors) and priors.center.dim() + priors.spread.dim():
            n_features = sizes[0] - 1
            for name, value in (("center", priors.center), ("spread", priors.spread)):
                fits = value.shape in ((), (n_features,))
                expected = f"shape ({n_features},) or (), as the network has features and a label"
                check(fits, f"priors.{name}", expected, tuple(value.shape))
            center = torch.cat([priors.center.expand(n_features), priors.center.new_zeros(1)])
            spread = torch.cat([priors.spread.expand(n_features), priors.spread.new_ones(1)])
            priors = replace(priors, center=center, spread=spread)
        super().__init__(network, priors, n_classes, copy=copy)
        self.objective = objective
        codes = torch.arange(n_classes).to(network.layers[0].input_center)
        self.register_buffer("label_codes", (codes - codes.mean()) / codes.std(correction=0))

    @property
    def n_features(self) -> int:
        """The number of features of a row, the label not counted."""
        return self.network.sizes[0] - 1

    @property
    def has_likelihood(self) -> bool:
        """Whether the objective is a log-likelihood."""
        return self.objective == "conditional"

    def inputs(self, x: Any, y: Any) -> Tensor:
        """Makes the network's inputs, ``(n, K + 1)``, of features and labels; what
        ``network.reset_parameters`` takes.
        """
        return self._inputs(*self.check_data(x, y))

    def _inputs(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([x, self.label_codes[y.long()].unsqueeze(-1)], -1)

    def observation_of(self, scores: Tensor, draws: Draws) -> dist.TorchDistribution:
        """The distribution of the labels of rows; by the score objective, their scores."""
        return (
            super().observation_of(scores, draws) if self.has_likelihood else _ScoredLabels(scores)
        )

    def scores(self, x: Any, draws: Draws | None = None) -> Tensor:
        """Evaluates the root at every label of rows ``(n, K)``: ``(n, C)`` or ``(S, n, C)``.

        Draws are values of sites, shape ``P + (J, K)`` with ``P`` broadcasting to ``(S, 1)``.
        """
        x = self._features(x)
        labels = torch.arange(self.n_classes, device=x.device).repeat(len(x))
        inputs = self._inputs(x.repeat_interleave(self.n_classes, 0), labels)
        return self._evaluate(inputs, draws).squeeze(-1).unflatten(-1, (len(x), self.n_classes))

    @property
    def values_per_row(self) -> int:
        """The components of the largest layer, for every label."""
        return self.n_classes * super().values_per_row

    def arguments(self) -> dict[str, Any]:
        """What the network and the model were made with."""
        own = {"n_classes": self.n_classes, "objective": self.objective}
        return super().arguments() | own

    @classmethod
    def from_arguments(
        cls, arguments: dict[str, Any], priors: Any, dtype: torch.dtype, state: dict[str, Tensor]
    ) -> Self:
        """Makes the network, with its parameters, and a model of it."""
        if (
            priors is not None and priors.center.dim() + priors.spread.dim()
        ):  # with the label's, which comes of itself
            sizes = [tuple(value.shape) for value in (priors.center, priors.spread)]
            check(sizes[0] == sizes[1], "priors.spread", f"shape {sizes[0]}", sizes[1])
            priors = priors.scaled(priors.center[:-1], priors.spread[:-1])
        return super().from_arguments(arguments, priors, dtype, state)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.network!r}, {self.n_classes}, priors={self.priors!r}, "
            f"objective={self.objective!r})"
        )
