"""What Bayesian models of uGMM networks share."""

import copy as copying
from abc import abstractmethod
from typing import Any, ClassVar, Self

import pyro.distributions as dist
import torch
from torch import Tensor

from ..checks import check, check_flag
from ..nn import UGMMNetwork
from ..precision import full_precision
from .base import BayesianModel, Draws, check_draws
from .data import features_for, labels_for, raise_overflow
from .layer_prior import SITES, LayerPrior, check_units
from .priors import Priors

__all__ = ["NetworkModel"]


def _labels(scores: Tensor) -> dist.Categorical:
    # Scores that overflowed make the loss NaN, for the training loop to report, not an error.
    return dist.Categorical(logits=scores, validate_args=False)


class NetworkModel(BayesianModel):
    """A network with priors over its layers, whose scores say how probable labels are.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import UGMMClassifier
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> UGMMClassifier(UGMMNetwork([2, 4, 3])).scores(torch.randn(10, 2)).shape
        torch.Size([10, 3])
    """

    observed = "y"
    _feature_dim: ClassVar[str] = "input"
    _output_dim: ClassVar[str] = "class"

    @torch.inference_mode(False)  # so that it can be trained, wherever it is made
    def __init__(
        self, network: UGMMNetwork, priors: Priors | None, n_classes: int, *, copy: bool = True
    ) -> None:
        super().__init__()
        copy = check_flag("copy", copy)
        check(
            priors is None or isinstance(priors, Priors),
            "priors",
            "Priors or None",
            type(priors).__name__,
        )
        if priors is not None:
            priors = priors.resolved(variances=dist.InverseGamma(2.0, 1.0), weights=None)
        self.network = copying.deepcopy(network) if copy else network
        self.priors, self.n_classes = priors, n_classes
        self.layer_priors = torch.nn.ModuleList()
        if priors is None:
            return
        check_units(network.layers[0], priors)
        for i, layer in enumerate(network.layers):
            self.layer_priors.append(
                LayerPrior(
                    layer, priors.scaled(layer.input_center, layer.input_spread) if i else priors
                )
            )

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
        """What the parameters of the network, or of another, are now, as values of the sites."""
        network = self.network if start is None else start
        self._check_start(network)
        values = {}
        for site in self.site_distributions():
            _, i, name = site.split(".")
            parameter, _, from_parameter = SITES[name]
            value = getattr(network.layers[int(i)], parameter).detach()
            values[site] = from_parameter(value.to(self.network.layers[int(i)].input_center))
        return self._within_supports(values)

    @torch.no_grad()
    def take_start(self, start: UGMMNetwork) -> None:
        """Copies to the network what has no prior, unless it does not require gradients."""
        self._check_start(start)
        sites = self.site_distributions()
        for i, (own, other) in enumerate(zip(self.network.layers, start.layers, strict=True)):
            for name, (parameter, _, _) in SITES.items():
                kept = "scale_unconstrained" if parameter == "scale" else parameter
                if f"layers.{i}.{name}" in sites or not getattr(own, kept).requires_grad:
                    continue
                value = getattr(other, parameter).to(own.input_center)
                is_low = value <= own.min_scale if parameter == "scale" else False
                setattr(
                    own, parameter, value.masked_fill(torch.as_tensor(is_low), 2 * own.min_scale)
                )

    def _check_start(self, start: Any) -> None:
        expected = f"a UGMMNetwork of sizes {self.network.sizes}"
        fits = isinstance(start, UGMMNetwork) and start.sizes == self.network.sizes
        check(fits, "start", expected, start)

    @full_precision
    def _evaluate(self, inputs: Tensor, draws: Draws | None) -> Tensor:
        """Evaluates the network, with draws of latent sites in place of its own parameters."""
        parameters = {}
        for site, value in check_draws(draws).items():
            prefix, _, name = site.rpartition(".")
            expected = "sites like layers.0.loc, .variance or .weights"
            check(name in SITES, "draws", expected, site)
            parameter, to_parameter, _ = SITES[name]
            parameters[f"{prefix}.{parameter}"] = to_parameter(value)
        return self.network(inputs, parameters)

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

    def forward(self, x: Any, y: Any = None, size: int | None = None) -> Tensor:
        """Draws parameters from the priors and labels from the network.

        Args:
            x: features, shape ``(n, K)``.
            y: observed labels, shape ``(..., n)``, integers from 0; drawn if not given.
            size: the number of rows of the full data, if ``x`` is a minibatch of it.
        """
        return self.sample_rows(*self.check_data(x, y), size=size)

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

    def split_data(self, x: Any, y: Tensor | None = None) -> tuple[Any, Tensor | None]:
        """Labels are observed, given features."""
        return x, y

    @property
    def values_per_row(self) -> int:
        """The components of the largest layer."""
        return max(layer.loc.numel() for layer in self.network.layers)

    def observation(self, given: Any, draws: Draws | None = None) -> dist.Categorical:
        """The distribution of the labels of rows ``(n, K)``."""
        return _labels(self.scores(given, draws))

    def check_predictable(self, given: Any, rows: Any, draws: Draws) -> None:
        """Checks that the rows' scores did not overflow; says whether features or draws did it."""
        finite = rows.logits.isfinite().all(-1).reshape(-1, len(given)).all(0)
        if not torch._is_all_true(finite):
            raise_overflow(given, finite, self.network, draws)

    def arguments(self) -> dict[str, Any]:
        """What the network was made with."""
        layers = self.network.layers
        return {
            "sizes": [*self.network.sizes],
            "dropout": [layer.dropout for layer in layers],
            "min_scale": layers[0].min_scale,
            "missing": self.network.missing,
            "normalization": self.network.normalization,
        }

    @classmethod
    def from_arguments(
        cls, arguments: dict[str, Any], priors: Any, dtype: torch.dtype, state: dict[str, Tensor]
    ) -> Self:
        """Makes the network, with its parameters, and a model of it."""
        arguments = dict(arguments)
        names = ("sizes", "dropout", "min_scale", "missing", "normalization")
        network = UGMMNetwork(**{name: arguments.pop(name) for name in names}).to(dtype)
        prefix = "network."
        parts = {
            name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)
        }
        network.load_state_dict(parts)
        return cls(network, priors=priors, copy=False, **arguments)

    def example_row(self) -> Tensor:
        """The center of the features."""
        return self.network.layers[0].input_center[: self.n_features].unsqueeze(0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.network!r}, priors={self.priors!r})"
