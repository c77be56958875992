"""A classifier whose network reads the features that another module makes."""

from typing import Any

import torch
from torch import Tensor

from ..checks import check, check_integer, check_values
from ..nn import UGMMNetwork
from ..precision import full_precision
from ..programs.traced import Draws
from .classifier import UGMMClassifier
from .priors import Priors

__all__ = ["DeepClassifier"]


class DeepClassifier(UGMMClassifier):
    r"""A Pyro model of labels by a uGMM network on top of any torch module.

    .. math:: \theta \sim \mathrm{priors}, \qquad
        y_i \mid x_i, \theta \sim \mathrm{Categorical}(\mathrm{softmax}(h_\theta(f(x_i))))

    The body :math:`f`, such as convolutions, has no priors: ``fit_mle`` and ``fit_svi`` learn it
    beside what they learn of the head :math:`h` (last-layer Bayes), unless its parameters do not
    require gradients. Sites are those of :class:`UGMMClassifier`. Given the features, the head is a
    model of its own, whose posterior ``sample_posterior(model.head, model.features(x), y)`` draws,
    and which ``save_fitted`` takes; the body goes to a file by its ``state_dict``.

    Args:
        body: maps rows ``(n, ...)`` to features ``(n, K)``; the model trains it as it is.
        network: the head, with an input for each feature and an output for each class. Features
            should be about as large as standardized ones, as a body that ends in a
            ``torch.nn.LayerNorm`` or ``BatchNorm1d`` makes them.
        priors: of the head, or None.
        input_shape: of one row.
        copy: whether the model takes a copy of the network.

    Raises:
        ValueError: if the body does not make finite features, one for each input of the network,
            of a row of zeros.

    Source: Snoek and others (2015), *Scalable Bayesian optimization using deep neural networks*.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import DeepClassifier, Priors
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> body = torch.nn.Sequential(
        ...     torch.nn.Flatten(), torch.nn.Linear(36, 8), torch.nn.ReLU(), torch.nn.LayerNorm(8)
        ... )
        >>> model = DeepClassifier(body, UGMMNetwork([8, 3]), Priors(), input_shape=(1, 6, 6))
        >>> x = torch.randn(10, 1, 6, 6)
        >>> model.features(x).shape, model(x).shape
        (torch.Size([10, 8]), torch.Size([10]))
    """

    def __init__(
        self,
        body: torch.nn.Module,
        network: UGMMNetwork,
        priors: Priors | None = None,
        *,
        input_shape: tuple[int, ...],
        copy: bool = True,
    ) -> None:
        super().__init__(network, priors, copy=copy)
        check(isinstance(body, torch.nn.Module), "body", "a torch.nn.Module", type(body).__name__)
        self.body = body
        shape = input_shape if isinstance(input_shape, tuple | list) else (input_shape,)
        self.input_shape = tuple(check_integer("input_shape", size) for size in shape)
        self.features(*self.example_rows())

    @property
    def head(self) -> UGMMClassifier:
        """The same network and priors as a model of labels given features."""
        return UGMMClassifier(self.network, self.priors, copy=False)

    @torch.no_grad()
    def features(self, x: Any) -> Tensor:
        """Makes the features of rows ``(n, ...)``, ``(n, K)``, by the body as it is now.

        Raises:
            ValueError: if they are not finite, or not one for each input of the network.
        """
        return self._features_of(self._checked_inputs(x))

    def _features_of(self, x: Tensor) -> Tensor:
        features = self.body(x)
        is_one = isinstance(features, Tensor)
        shape = tuple(features.shape) if is_one else type(features).__name__
        expected = len(x), self.network.sizes[0]
        check(shape == expected, "body", f"features of shape {expected}, of rows", f"{shape}")
        check_values("body", features.detach(), features.isfinite(), "finite features")
        return features

    def _checked_inputs(self, x: Any) -> Tensor:
        x = x if isinstance(x, Tensor) else torch.as_tensor(x)
        shape, expected = tuple(x.shape), ", ".join(map(str, ("n", *self.input_shape)))
        check(shape[1:] == self.input_shape and len(x), "x", f"shape ({expected})", f"{shape}")
        if x.is_floating_point():
            check_values("x", x, x.isfinite(), "finite values")
        return x

    def check_data(self, x: Any, y: Any = None) -> tuple[Tensor, ...]:
        """Checks the shapes and values of rows and labels, and returns them as tensors."""
        x = self._checked_inputs(x)
        return (x,) if y is None else (x, self.check_observed(y, x))

    @full_precision
    def _evaluate(self, inputs: Tensor, draws: Draws | None) -> Tensor:
        return super()._evaluate(self._features_of(inputs), draws)

    @torch.no_grad()
    def _inputs(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self._features_of(x)

    def example_rows(self) -> tuple[Tensor, ...]:
        """A row of zeros."""
        like = self.network.layers[0].input_center
        return (like.new_zeros(1, *self.input_shape),)

    def __repr__(self) -> str:
        body = f"{type(self.body).__name__}, input_shape={self.input_shape}"
        return f"{type(self).__name__}({body}, {self.network!r}, priors={self.priors!r})"
