"""The regression by a network whose scores weigh the components of a mixture over targets."""

import copy as copying
from typing import Any, ClassVar, Self

import pyro.distributions as dist
import torch
from torch import Tensor

from ..checks import check
from ..distributions import UnivariateGaussianMixture
from ..nn import UGMMNetwork
from ..nn.network import check_network
from ..programs.traced import Draws
from .draws import beside_rows, check_draws
from .network_model import NetworkModel
from .output_mixture import SITES, OutputMixture
from .priors import Priors
from .targets import check_varying, targets_for, targets_of

__all__ = ["UGMMRegressor"]

_LEARNED: dict[str, Any] = {"means": None, "variances": None}


class UGMMRegressor(NetworkModel):
    r"""A Pyro model of continuous targets, given features, as a mixture density.

    .. math:: p(y \mid x, \theta) = \prod_{m=1}^M \sum_{k=1}^K w_{mk}(x) \,
        \mathcal{N}(y_m \mid \mu_{mk}, \sigma_{mk}^2), \qquad
        w_m(x) = \mathrm{softmax}\bigl(h_\theta(x)_{mK}, \dots, h_\theta(x)_{mK + K - 1}\bigr)

    The components are the same for all rows, and the network's scores :math:`h` say how they weigh
    in a row; of several outputs, which are independent given the features, each has its own. So a
    density may be skewed, or have several modes, and is never narrower than a component. Ten of
    them were best of some hundred simulated rows, 20 of a thousand. Source: Ambrogioni and others
    (2017), *The kernel mixture network*, arXiv:1705.07111; mixture densities are Bishop's (1994).

    Sites: those of :class:`UGMMClassifier`, and ``outputs.loc`` and ``outputs.variance``, each of
    shape ``(M, K)``, where they have priors; ``y`` in the plate ``data``.

    Args:
        network: the network, whose last layer has ``n_outputs`` times ``K`` neurons.
        priors: the priors over the layers, or None: learned by maximum likelihood.
        n_outputs: the number of outputs ``M``.
        targets: the targets' ``center`` and ``spread``, shape ``(M,)`` or ``()``, and in their
            units the priors over locations, ``means``, and over ``variances``; None in place of
            one: learned. By default zero and one, for standardized targets, and where the layers
            have priors ``Normal(0, 2)`` and ``LogNormal(-3, 1.5)``, else none. ``weights`` and
            ``correlations`` say nothing here.
        min_output_scale: a floor under learned scales of components, in units of ``spread``;
            without one the likelihood has no maximum.
        copy: whether the model takes a copy of the network, and leaves the one given as it is.

    Attributes:
        network: the network that is trained.
        outputs: the components, with ``loc`` and ``scale`` in the targets' units.

    Raises:
        ValueError: if the last layer has no multiple of ``n_outputs`` neurons, or priors do not
            fit the features or the outputs.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import UGMMRegressor
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> x = torch.randn(100, 3)
        >>> y = 50 + 10 * x[:, 0] + torch.randn(100)
        >>> model = UGMMRegressor.from_data(UGMMNetwork([3, 8, 20]), y)
        >>> model.observation({}, x)
        UnivariateGaussianMixture(batch_shape=(100,), n_components=20)
        >>> model(x).shape  # targets drawn
        torch.Size([100])
    """

    _output_dim: ClassVar[str] = "score"

    @torch.inference_mode(False)
    def __init__(
        self,
        network: UGMMNetwork,
        priors: Priors | None = None,
        *,
        n_outputs: int = 1,
        targets: Priors | None = None,
        min_output_scale: float = 0.01,
        copy: bool = True,
    ) -> None:
        check_network(network)
        super().__init__(network, priors, copy=copy)
        if targets is None:
            targets = Priors() if priors is not None else Priors(**_LEARNED)
        like = self.network.layers[0].input_center
        self.outputs = OutputMixture(network.sizes[-1], n_outputs, targets, min_output_scale, like)
        self.n_outputs = len(self.outputs.center)

    @classmethod
    def from_data(
        cls, network: UGMMNetwork, y: Any, priors: Priors | None = None, **options: Any
    ) -> Self:
        """Takes the units of targets from the rows of ``y``, at whose quantiles components start.

        Args:
            network: the network.
            y: targets, shape ``(n,)``, or ``(n, M)`` of several outputs, in a tensor, an array or a
                data frame.
            priors: the priors over the layers, or None.
            **options: ``min_output_scale`` and ``copy``.

        Raises:
            ValueError: if targets are labels, not finite or constant, or fewer than two.
        """
        check_network(network)
        rows = targets_of(y, network.layers[0].input_center)
        rows = rows.unsqueeze(-1) if rows.dim() == 1 else rows
        check_varying(rows)
        targets = Priors.from_data(rows, **({} if priors is not None else _LEARNED))
        model = cls(network, priors, n_outputs=rows.shape[-1], targets=targets, **options)
        model.outputs.start_at(*model.outputs.spread_over(rows))
        return model

    def site_distributions(self) -> dict[str, dist.TorchDistribution]:
        """The prior of every latent site, by name."""
        return self.layer_distributions() | self.outputs.distributions()

    def dims(self) -> dict[str, list[str]]:
        """Names the dimensions of every site, and of targets."""
        dims = super().dims() | {site: ["output", "component"] for site in SITES}
        return dims | {"y": ["observation", "output"][: 1 + (self.n_outputs > 1)]}

    @torch.no_grad()
    def start_values(self, start: Any = None) -> dict[str, Tensor]:
        """What the parameters of this model, or of another like it, are as values of the sites."""
        like = self if start is None else self._checked_start(start)
        return self._within_supports(
            self.layer_values(like.network) | like.outputs.values(self.outputs.distributions())
        )

    def take_start(self, start: Any) -> None:
        """Copies to the model what has no prior, unless it does not require gradients."""
        super().take_start(self._checked_start(start).network)
        self.outputs.take(start.outputs)

    def draw_start(self, *rows: Tensor) -> Any:
        """Draws another network; components stay where they are."""
        start = copying.deepcopy(self)
        start.network = super().draw_start(*rows)
        return start

    def _checked_start(self, start: Any) -> Self:
        sizes, n_outputs = self.network.sizes, self.n_outputs
        fits = isinstance(start, UGMMRegressor) and start.n_outputs == n_outputs
        fits = fits and start.network.sizes == sizes
        expected = f"a UGMMRegressor of sizes {sizes} and {n_outputs} outputs"
        check(fits, "start", expected, repr(start))
        return start

    def scores(self, x: Any, draws: Draws | None = None) -> Tensor:
        """Evaluates the network: the logits of components, ``(n, M * K)`` or ``(S, n, M * K)``."""
        of_layers = {site: v for site, v in check_draws(draws).items() if site not in SITES}
        return self._evaluate(self._features(x), of_layers)

    def mixture(self, x: Tensor, draws: Draws) -> UnivariateGaussianMixture:
        """The mixtures of rows that were checked, ``(n,)`` or ``(S, n)``; and ``M`` if several."""
        draws = beside_rows(draws, self.site_distributions())
        return self._mixture_of(self.scores(x, draws), draws)

    def _mixture_of(self, scores: Tensor, draws: Draws) -> UnivariateGaussianMixture:
        logits = scores.unflatten(-1, (self.n_outputs, -1))
        parts = [*self.outputs(draws), logits]
        if self.n_outputs == 1:
            parts = [part.squeeze(-2) for part in parts]
        return UnivariateGaussianMixture(*parts, validate_args=False)

    def observation_of(self, scores: Tensor, draws: Draws) -> dist.TorchDistribution:
        """The distribution of the targets of rows with such scores."""
        return self._mixture_of(scores, draws).to_event(int(self.n_outputs > 1))

    def check_observed(self, y: Any, x: Tensor) -> Tensor:
        """Checks that there are targets for each row, and returns them as a tensor."""
        return targets_for(y, x, self.outputs.center, self.outputs.spread)

    def arguments(self) -> dict[str, Any]:
        """What the network and the model were made with."""
        own = {"n_outputs": self.n_outputs, "min_output_scale": self.outputs.min_scale}
        return super().arguments() | own | {"targets": self.outputs.priors.description()}

    @classmethod
    def from_arguments(
        cls, arguments: dict[str, Any], priors: Any, dtype: torch.dtype, state: dict[str, Tensor]
    ) -> Self:
        """Makes the network, with its parameters, and a model of it."""
        targets = Priors.from_description(arguments["targets"], dtype)
        return super().from_arguments(arguments | {"targets": targets}, priors, dtype, state)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.network!r}, priors={self.priors!r}, "
            f"n_outputs={self.n_outputs})"
        )
