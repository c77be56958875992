"""What Bayesian models of uGMM networks share."""

import copy as copying
from abc import abstractmethod
from typing import Any, ClassVar, Self

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from ..checks import check, check_flag
from ..nn import UGMMNetwork
from ..precision import full_precision
from ..programs.names import ObservedRows
from ..programs.traced import Draws
from .base import BayesianModel, check_size
from .data_checks import features_for, labels_for, raise_overflow
from .draws import beside_rows, check_draws, row_plate
from .layer_prior import make_layer_priors
from .network_arguments import arguments_of, make_network
from .network_start import check_start, copy_parameters, parameters_of, values_of
from .priors import Priors

__all__ = ["NetworkModel"]


def _log_shares(scores: Tensor, labels: Tensor) -> Tensor:
    """The log probabilities of labels ``(n,)``, given scores ``(n, C)`` or ``(S, n, C)``.

    As those of a categorical distribution, but with the classes of many draws before the rows,
    which torch reduces faster than a last dimension of a few.
    """
    target = labels.long().expand(scores.shape[:-1])
    by_class = scores.movedim(-1, 1) if scores.dim() > 2 else scores
    return -torch.nn.functional.cross_entropy(by_class, target, reduction="none")


class NetworkModel(BayesianModel):
    """A network with priors over its layers, whose scores say how probable labels are.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import UGMMClassifier
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> UGMMClassifier(UGMMNetwork([2, 4, 3])).scores(torch.randn(10, 2)).shape
        torch.Size([10, 3])
    """

    _feature_dim: ClassVar[str] = "input"
    _output_dim: ClassVar[str] = "class"

    @torch.inference_mode(False)  # so that it can be trained, wherever it is made
    def __init__(
        self, network: UGMMNetwork, priors: Priors | None, n_classes: int, *, copy: bool = True
    ) -> None:
        super().__init__()
        copy = check_flag("copy", copy)
        are_priors = priors is None or isinstance(priors, Priors)
        check(are_priors, "priors", "Priors or None", type(priors).__name__)
        if priors is not None:
            priors = priors.resolved(variances=dist.InverseGamma(2.0, 1.0), weights=None)
        self.network = copying.deepcopy(network) if copy else network
        self.priors, self.n_classes = priors, n_classes
        self.layer_priors = make_layer_priors(network, priors)

    def dims(self) -> dict[str, list[str]]:
        """Names the dimensions of every site; a layer's inputs are the neurons before it."""
        last = len(self.network.layers) - 1
        neurons = ["input", *(f"neuron_{i}" for i in range(last)), self._output_dim]
        sites = {site: int(site.split(".")[1]) for site in self.site_distributions()}
        data = {"x": ["observation", self._feature_dim], "y": ["observation"]}
        return data | {site: [neurons[i + 1], neurons[i]] for site, i in sites.items()}

    def site_distributions(self) -> dict[str, dist.TorchDistribution]:
        """The prior of every latent site, by name."""
        return {
            f"layers.{i}.{name}": distribution
            for i, layer_prior in enumerate(self.layer_priors)
            for name, distribution in layer_prior.distributions().items()  # type: ignore[operator]
        }

    @torch.no_grad()
    def start_values(self, start: UGMMNetwork | None = None) -> dict[str, Tensor]:
        """What the parameters of the network, or of another, are now, as values of the sites.

        Where one is not strictly within a prior's support, the support's middle stands in for it.
        """
        network = self.network if start is None else start
        check_start(network, self.network)
        return self._within_supports(values_of(network, self.site_distributions(), self.network))

    @torch.no_grad()
    def take_start(self, start: UGMMNetwork) -> None:
        """Copies to the network what has no prior, unless it does not require gradients."""
        check_start(start, self.network)
        copy_parameters(start, self.network, self.site_distributions())

    @torch.no_grad()
    def draw_start(self, *rows: Tensor) -> UGMMNetwork:
        """Draws another network as this one was: for standardized inputs, or inputs like these."""
        network = copying.deepcopy(self.network)
        first = network.layers[0]
        is_standard = not first.input_center.any() and bool((first.input_spread == 1).all())
        network.reset_parameters(None if is_standard else self._inputs(*rows))
        return network

    @full_precision
    def _evaluate(self, inputs: Tensor, draws: Draws | None) -> Tensor:
        """Evaluates the network, with draws of latent sites in place of its own parameters."""
        return self.network(inputs, parameters_of(check_draws(draws)))

    def forward(self, x: Tensor, y: Tensor | None = None, size: int | None = None) -> Tensor:
        """Draws parameters from the priors, and labels in proportion to their scores' exponentials.

        Args:
            x: features, shape ``(n, K)``.
            y: observed labels, shape ``(..., n)``, integers from 0; drawn if not given.
            size: the number of rows of the full data, if ``x`` is a minibatch of it.
        """
        priors = self.site_distributions()
        draws = {site: pyro.sample(site, prior) for site, prior in priors.items()}
        labels = self.observation(beside_rows(draws, priors), x)
        if y is None:
            self._check_drawable(labels, x, draws)
        with row_plate(len(x), size, x.device):
            return pyro.sample("y", labels, obs=y)

    @abstractmethod
    def scores(self, x: Any, draws: Draws | None = None) -> Tensor:
        """Scores every label of rows.

        Args:
            x: features, shape ``(n, K)``.
            draws: values of sites, shape ``P + (J, K)`` with ``P`` broadcasting to ``(S, 1)``.

        Returns:
            Scores, shape ``(n, C)`` or ``(S, n, C)``.
        """

    def check_data(self, x: Any, y: Any = None) -> tuple[Tensor, ...]:
        """Checks the shapes and values of features and labels, and returns them as tensors.

        Raises:
            ValueError: if they do not fit the network, there are no rows, a feature is not
                finite, or a label is not one of the classes.
        """
        x = features_for(x, self.network.layers[0], self.n_features)
        return (x,) if y is None else (x, labels_for(y, x, self.n_classes))

    def _features(self, x: Any) -> Tensor:
        """Features as a tensor; tensors are what they are, since layers check them."""
        return x if isinstance(x, Tensor) else self.check_data(x)[0]

    @full_precision
    def __call__(self, x: Any, y: Any = None, size: int | None = None) -> Tensor:
        """Checks data and runs the program on them."""
        rows = self.check_data(x, y)
        return super().__call__(*rows, size=check_size(size, len(rows[0])))

    @property
    def n_features(self) -> int:
        """The number of features of a row."""
        return self.network.sizes[0]

    def note_fit(self, *data: Tensor) -> None:
        """Notes the scale of the scores that reach hidden layers, the units of their priors."""
        self.network.measure_inputs(self._inputs(*data))

    def _inputs(self, x: Tensor, y: Tensor) -> Tensor:
        """What the network is given, of features and labels: features alone."""
        return x

    def observed_rows(self, *rows: Tensor) -> ObservedRows:
        """Labels are observed, given features."""
        return ObservedRows({"y": rows[1] if len(rows) > 1 else None}, {"x": rows[0]})

    def terms_beside(self, draws: Draws, *rows: Tensor) -> Tensor:
        """Evaluates ``row_terms`` under draws that are ``(S, 1)``, or one."""
        if not self.has_likelihood:
            return super().terms_beside(draws, *rows)
        return _log_shares(self.scores(rows[0], draws), rows[1])

    @property
    def values_per_row(self) -> int:
        """The components of the largest layer."""
        return max(layer.loc.numel() for layer in self.network.layers)

    def class_probabilities(self, x: Tensor, draws: Draws) -> Tensor:
        """The probabilities of labels of rows that were checked, ``(n, C)`` or ``(S, n, C)``."""
        return self.scores(x, beside_rows(draws, self.site_distributions())).softmax(-1)

    def _check_drawable(self, labels: dist.Categorical, x: Tensor, draws: Draws) -> None:
        """Checks that the rows' scores did not overflow; says whether features or draws did it."""
        finite = labels.logits.isfinite().all(-1).reshape(-1, len(x)).all(0)
        if not torch._is_all_true(finite):
            raise_overflow(x, finite, self.network, draws)

    def arguments(self) -> dict[str, Any]:
        """What the network was made with."""
        return arguments_of(self.network)

    @classmethod
    def from_arguments(
        cls, arguments: dict[str, Any], priors: Any, dtype: torch.dtype, state: dict[str, Tensor]
    ) -> Self:
        """Makes the network, with its parameters, and a model of it."""
        network, rest = make_network(arguments, dtype, state)
        return cls(network, priors=priors, copy=False, **rest)

    def example_rows(self) -> tuple[Tensor, ...]:
        """The center of the features."""
        return (self.network.layers[0].input_center[: self.n_features].unsqueeze(0),)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.network!r}, priors={self.priors!r})"
