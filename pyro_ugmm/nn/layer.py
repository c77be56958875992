"""A layer of univariate Gaussian mixture neurons."""

from typing import Any

import torch
from torch import Tensor

from ..checks import check, check_floating, check_number, check_same_kind
from ..distributions import UnivariateGaussianMixture
from ..missing_values import network_rule
from ..standardization import center_and_spread
from ..tables import Table
from .dropout import drop_components, drop_where_inputs_remain
from .kernels import layer_log_density
from .kernels.dtypes import check_dtype
from .layer_parameters import LayerParameters
from .missing_inputs import check_observed, score_observed
from .parameter_checks import check_stand_ins
from .rows import as_rows
from .starting_values import draw_starting_values

__all__ = ["STAND_INS", "UGMMLayer"]

STAND_INS = ("loc", "scale", "logits", "log_weights")
"""What may be given in place of a layer's own parameters."""


class UGMMLayer(LayerParameters):
    r"""Neurons that are univariate Gaussian mixtures, with one component per input.

    .. math:: \mathrm{out}_j(x) = \log \sum_{k=1}^K w_{jk} \,
        \mathcal{N}(x_k \mid \mu_{jk}, \sigma_{jk}^2), \qquad w_j = \mathrm{softmax}(\ell_j)

    Neuron :math:`j` as such is a density over the real line, :attr:`nodes`; its output is a
    *score* of the input vector, not a density of it. Source: Ali (2025), arXiv:2509.07569.

    Args:
        in_features: the number of inputs :math:`K`.
        out_features: the number of neurons :math:`J`.
        dropout: the probability with which each component is dropped while training, one mask a
            forward pass; the weights of the others are renormalized.
        min_scale: a floor under the learned scales, in the units of the inputs; without one the
            likelihood of a network has no maximum.
        missing: what a NaN among the inputs means: an ``"error"``, which models raise, since a
            layer by itself checks no values and returns NaN; or an input to ``"omit"``: its
            component is left out, and the weights of the others are renormalized. That is a
            convention, as dropout's is, not a marginal density. A neuron whose dropout would leave
            some row nothing keeps all components in that pass.
        device, dtype: of the parameters.

    Attributes:
        loc: means :math:`\mu`, shape ``(J, K)``.
        scale: standard deviations :math:`\sigma`, shape ``(J, K)``, in the units of the inputs.
        logits: unnormalized log weights :math:`\ell`, shape ``(J, K)``.
        input_center: the location of the inputs that the layer was initialized for, shape ``(K,)``.
        input_spread: their scale, shape ``(K,)``.

    Raises:
        ValueError: if a size is not a positive integer, dropout not in [0, 1), or ``missing`` is
            unknown.

    Example:
        >>> import torch
        >>> from pyro_ugmm.nn import UGMMLayer
        >>> layer = UGMMLayer(4, 3)
        >>> layer
        UGMMLayer(in_features=4, out_features=3)
        >>> layer(torch.randn(10, 4)).shape
        torch.Size([10, 3])
        >>> layer.nodes
        UnivariateGaussianMixture(batch_shape=(3,), n_components=4)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        dropout: float = 0.0,
        *,
        min_scale: float = 1e-4,
        missing: str = "error",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, min_scale, device, dtype)
        expected = "a probability in [0, 1)"
        self.dropout = check_number("dropout", dropout, lambda p: 0 <= p < 1, expected)
        self.missing = network_rule(missing).missing
        self.reset_parameters()

    def reset_parameters(self, x: Any = None) -> None:
        r"""Draws new parameters, for inputs like ``x``, shape ``(n, K)``, or standardized ones.

        With :math:`m_k` and :math:`s_k` the mean and standard deviation of input :math:`k`, draws
        :math:`\mu_{jk} \sim \mathcal{N}(m_k, s_k^2)` and
        :math:`\sigma_{jk} / s_k \sim \mathrm{Uniform}(1, 2)`, and :math:`w_{jk} \propto s_k`. So
        the components are spread as the inputs are and somewhat wider, which makes the score
        change over the inputs' range, and change smoothly; and they all weigh alike in it,
        whatever the units of their inputs.

        Args:
            x: the inputs, in whatever holds rows: a tensor, an array, a data frame.

        Raises:
            ValueError: if they do not fit the layer, or its dtype cannot hold such parameters.
        """
        rows = None if x is None else as_rows(x, self.input_center, self.missing, "the layer")
        self.initialize(rows)

    @torch.inference_mode(False)  # within which parameters would be such as nobody can train
    @torch.no_grad()
    def initialize(self, rows: Table | None) -> None:
        """Draws new parameters as :meth:`reset_parameters` does, for rows that are checked."""
        check_dtype("the layer", self.input_center.dtype)
        center, spread = torch.zeros_like(self.input_center), torch.ones_like(self.input_spread)
        if rows is not None:
            omit = network_rule(self.missing).takes_nan
            center, spread = center_and_spread(rows.values.detach(), omit_missing=omit)
        start = draw_starting_values(center, spread, self.out_features)
        if rows is not None and not center.is_meta:
            start.check_range(rows)
        self.start_at(center, spread, start)

    @property
    def nodes(self) -> UnivariateGaussianMixture:
        """The neurons as densities over the real line, a batch of shape ``(out_features,)``."""
        check_dtype("the layer", self.input_center.dtype)
        return UnivariateGaussianMixture(self.loc, self.scale, logits=self.logits)

    def check_input(self, x: Tensor, name: str = "x") -> None:
        """Checks the shape, dtype and device of an input, not its values."""
        check_floating(name, x)
        check(x.layout == torch.strided, name, "a dense tensor", x.layout)
        fits, expected = x.shape[-1:] == (self.in_features,), f"shape (..., {self.in_features})"
        check(fits, name, expected, tuple(x.shape))
        check_same_kind({"the layer": self.input_center, name: x})
        check_dtype(name, x.dtype)

    def forward(
        self,
        x: Tensor,
        *,
        loc: Tensor | None = None,
        scale: Tensor | None = None,
        logits: Tensor | None = None,
        log_weights: Tensor | None = None,
    ) -> Tensor:
        """Scores inputs of shape ``B + (K,)``; the result has shape ``B + (J,)``.

        Parameters given here stand in for the layer's own, and dropout is off; ``log_weights`` are
        normalized, and stand in for ``logits``. Their shapes are ``P + (J, K)``; the result's is
        ``broadcast(P, B) + (J,)``, so that ``S`` posterior draws, shape ``(S, 1, J, K)``, score
        ``n`` rows in one call, as ``(S, n, J)``.
        """
        candidates = zip(STAND_INS, (loc, scale, logits, log_weights), strict=True)
        given = {name: value for name, value in candidates if value is not None}
        for name, value in {"x": x, **given}.items():
            check_floating(name, value)
        device, dtype = self.input_center.device.type, self.input_center.dtype
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            # As torch does where half precision is not enough.
            given = {name: value.to(dtype) for name, value in given.items()}
            with torch.autocast(device, enabled=False):
                return self.forward(x.to(dtype), **given)
        self.check_input(x)
        if given:
            check_stand_ins(x, given, self.shape)
        loc = self.loc if loc is None else loc
        scale = self.scale if scale is None else scale
        if log_weights is None:
            logits = self.logits if logits is None else logits
            if self.training and self.dropout > 0 and not given:
                logits = self._drop(x, logits)
            log_weights = logits.log_softmax(-1)
        if network_rule(self.missing).takes_nan:
            check_observed(x)
            return score_observed(x, loc, scale, log_weights)
        return layer_log_density(x, loc, scale, log_weights)

    def _drop(self, x: Tensor, logits: Tensor) -> Tensor:
        if network_rule(self.missing).takes_nan:
            return drop_where_inputs_remain(x, logits, self.dropout)
        return drop_components(logits, self.dropout)

    def __repr__(self) -> str:
        dropout = f", dropout={self.dropout}" if self.dropout else ""
        missing = network_rule(self.missing).shown
        return (
            f"{type(self).__name__}(in_features={self.in_features}, "
            f"out_features={self.out_features}{dropout}{missing})"
        )
