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
from .data_checks import features_for, raise_overflow
from .draws import beside_rows, check_draws, row_plate
from .layer_prior import make_layer_priors
from .network_arguments import arguments_of, make_network
from .network_start import check_start, copy_parameters, parameters_of, values_of
from .priors import Priors

__all__ = ["NetworkModel"]


class NetworkModel(BayesianModel):
    """A network with priors over its layers, whose scores say what is probable of each row.

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
    def __init__(self, network: UGMMNetwork, priors: Priors | None, *, copy: bool = True) -> None:
        super().__init__()
        copy = check_flag("copy", copy)
        are_priors = priors is None or isinstance(priors, Priors)
        check(are_priors, "priors", "Priors or None", type(priors).__name__)
        if priors is not None:
            priors = priors.resolved(variances=dist.InverseGamma(2.0, 1.0), weights=None)
        self.network = copying.deepcopy(network) if copy else network
        self.priors = priors
        self.layer_priors = make_layer_priors(network, priors)

    def dims(self) -> dict[str, list[str]]:
        """Names the dimensions of every site; a layer's inputs are the neurons before it."""
        last = len(self.network.layers) - 1
        neurons = ["input", *(f"neuron_{i}" for i in range(last)), self._output_dim]
        sites = {site: int(site.split(".")[1]) for site in self.layer_distributions()}
        data = {"x": ["observation", self._feature_dim], "y": ["observation"]}
        return data | {site: [neurons[i + 1], neurons[i]] for site, i in sites.items()}

    def site_distributions(self) -> dict[str, dist.TorchDistribution]:
        """The prior of every latent site, by name."""
        return self.layer_distributions()

    def layer_distributions(self) -> dict[str, dist.TorchDistribution]:
        """The prior of every site of the layers, by name."""
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
        return self._within_supports(self.layer_values(self.network if start is None else start))

    def layer_values(self, network: UGMMNetwork) -> dict[str, Tensor]:
        """The values of the layers' sites that a network's parameters are."""
        check_start(network, self.network)
        return values_of(network, self.layer_distributions(), self.network)

    @torch.no_grad()
    def take_start(self, start: UGMMNetwork) -> None:
        """Copies to the network what has no prior, unless it does not require gradients."""
        check_start(start, self.network)
        copy_parameters(start, self.network, self.layer_distributions())

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
        """Draws parameters from the priors, and what is observed of rows by their scores.

        Args:
            x: features, shape ``(n, K)``.
            y: what was observed: of labels shape ``(..., n)``, integers from 0; drawn if not given.
            size: the number of rows of the full data, if ``x`` is a minibatch of it.
        """
        priors = self.site_distributions()
        draws = {site: pyro.sample(site, prior) for site, prior in priors.items()}
        beside = beside_rows(draws, priors)
        scores = self.scores(x, beside)
        if y is None:
            self._check_drawable(scores, x, draws)
        with row_plate(len(x), size, x.device):
            return pyro.sample("y", self.observation_of(scores, beside), obs=y)

    def observation(self, draws: Draws, *rows: Tensor) -> dist.TorchDistribution:
        """The distribution of what is observed of rows ``(n, K)``."""
        return self.observation_of(self.scores(rows[0], draws), draws)

    @abstractmethod
    def observation_of(self, scores: Tensor, draws: Draws) -> dist.TorchDistribution:
        """The distribution of what is observed of rows with such scores."""

    @abstractmethod
    def scores(self, x: Any, draws: Draws | None = None) -> Tensor:
        """Scores of rows: of every label, or of every component of their outputs.

        Args:
            x: features, shape ``(n, K)``.
            draws: values of sites, shape ``P + (J, K)`` with ``P`` broadcasting to ``(S, 1)``.

        Returns:
            Scores, shape ``(n, C)`` or ``(S, n, C)``.
        """

    def check_data(self, x: Any, y: Any = None) -> tuple[Tensor, ...]:
        """Checks the shapes and values of features and of what is observed; returns tensors.

        Raises:
            ValueError: if they do not fit the network, there are no rows, a feature is not
                finite, or what is observed is none of what the model is of.
        """
        x = features_for(x, self.network.layers[0], self.n_features)
        return (x,) if y is None else (x, self.check_observed(y, x))

    @abstractmethod
    def check_observed(self, y: Any, x: Tensor) -> Tensor:
        """Checks what is observed of rows, and returns it as a tensor."""

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
        """What the network is given, of features and what is observed: features alone."""
        return x

    def observed_rows(self, *rows: Tensor) -> ObservedRows:
        """Labels or targets are observed, given features."""
        return ObservedRows({"y": rows[1] if len(rows) > 1 else None}, {"x": rows[0]})

    @property
    def values_per_row(self) -> int:
        """The components of the largest layer."""
        return max(layer.loc.numel() for layer in self.network.layers)

    def _check_drawable(self, scores: Tensor, x: Tensor, draws: Draws) -> None:
        """Checks that the rows' scores did not overflow; says whether features or draws did it."""
        finite = scores.isfinite().all(-1).reshape(-1, len(x)).all(0)
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
