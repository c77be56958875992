"""Bayesian models of uGMM networks."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from ..checks import check, check_values
from ..nn import UGMMNetwork
from .base import BayesianModel, Draws
from .data import check_features, check_labels
from .layer_prior import SITES, LayerPrior, check_units
from .priors import Priors
from .scaled_prior import ScaledPrior

__all__ = ["UGMMClassifier"]


def _labels(scores: Tensor) -> dist.Categorical:
    # Scores that overflowed make the loss NaN, for the training loop to report, not an error.
    return dist.Categorical(logits=scores, validate_args=False)


class UGMMClassifier(BayesianModel):
    r"""A Pyro model of class labels, whose probabilities are a network's normalized scores.

    .. math:: \theta \sim \mathrm{priors}, \qquad
        y_i \mid x_i, \theta \sim \mathrm{Categorical}(\mathrm{softmax}(h_\theta(x_i)))

    Sites: ``layers.{i}.loc``, ``layers.{i}.variance`` and ``layers.{i}.weights``, each of shape
    ``(J, K)``, where they have priors; ``y`` in the plate ``data``. What has no prior is the
    network's own parameter. The network is read, never changed: models may share one. Its dropout
    acts only on layers without priors.

    Args:
        network: the network, whose last layer has one neuron per class.
        priors: the priors, or None: nothing to infer, all is learnt by maximum likelihood.

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

    observed = "y"

    def __init__(self, network: UGMMNetwork, priors: Priors | None = None) -> None:
        super().__init__()
        check(isinstance(network, UGMMNetwork), "network", "a UGMMNetwork", type(network).__name__)
        check(
            priors is None or isinstance(priors, Priors),
            "priors",
            "Priors or None",
            type(priors).__name__,
        )
        self.network = network
        self.priors = priors
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

    @property
    def n_classes(self) -> int:
        """The number of classes."""
        return self.network.sizes[-1]

    def dims(self) -> dict[str, list[str]]:
        """Names the dimensions of every site; a layer's inputs are the neurons before it."""
        last = len(self.network.layers) - 1
        neurons = ["input", *(f"neuron_{i}" for i in range(last)), "class"]
        sites = {site: int(site.split(".")[1]) for site in self.site_distributions()}
        return {"x": ["observation", "input"], "y": ["observation"]} | {
            site: [neurons[i + 1], neurons[i]] for site, i in sites.items()
        }

    def marginal_prior(self, site: str, neuron: int, feature: int) -> dist.TorchDistribution:
        """The prior of one number of a latent site."""
        prior = self.site_distributions()[site].base_dist
        if isinstance(prior, ScaledPrior):
            return prior.element(neuron, feature)
        concentration = prior.concentration[neuron].cpu()
        return dist.Beta(concentration[feature], concentration.sum() - concentration[feature])

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
        expected = f"a UGMMNetwork of sizes {self.network.sizes}"
        fits = isinstance(network, UGMMNetwork) and network.sizes == self.network.sizes
        check(fits, "start", expected, network)
        values = {}
        for site in self.site_distributions():
            _, i, name = site.split(".")
            parameter, _, from_parameter = SITES[name]
            values[site] = from_parameter(getattr(network.layers[int(i)], parameter).detach())
        return values

    def scores(self, x: Tensor, draws: Draws | None = None) -> Tensor:
        """Evaluates the network, with draws of latent sites in place of its own parameters.

        Args:
            x: features, shape ``(n, K)``.
            draws: values of sites, shape ``P + (J, K)`` with ``P`` broadcasting to ``(S, 1)``.

        Returns:
            Scores, shape ``(n, C)`` or ``(S, n, C)``.
        """
        parameters = {}
        for site, value in (draws or {}).items():
            prefix, _, name = site.rpartition(".")
            expected = "sites like layers.0.loc, .variance or .weights"
            check(name in SITES, "draws", expected, site)
            parameter, to_parameter, _ = SITES[name]
            parameters[f"{prefix}.{parameter}"] = to_parameter(value)
        return self.network(x, parameters)

    def check_data(self, x: Tensor, y: Tensor | None = None) -> None:
        """Checks the shapes and values of features and labels.

        Raises:
            ValueError: if they do not fit the network, there are no rows, a feature is not
                finite, or a label is not one of the classes.
        """
        check_features(x, self.network.layers[0])
        if y is not None:
            check_labels(y, x, self.n_classes)

    def forward(self, x: Tensor, y: Tensor | None = None, size: int | None = None) -> Tensor:
        """Draws parameters from the priors and labels from the network.

        Args:
            x: features, shape ``(n, K)``.
            y: observed labels, shape ``(..., n)``, integers from 0; drawn if not given.
            size: the number of rows of the full data, if ``x`` is a minibatch of it.
        """
        self.check_data(x, y)
        return self.sample_rows(x, y, size=size)

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

    def check_predictable(self, given: Any, rows: Any) -> None:
        """Checks that the rows' scores did not overflow."""
        expected = f"features whose scores stay finite in {given.dtype}"
        finite = rows.logits.isfinite().all(-1).reshape(-1, len(given)).all(0)
        check_values("x", given.abs().amax(-1), finite, expected)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.network!r}, priors={self.priors!r})"
