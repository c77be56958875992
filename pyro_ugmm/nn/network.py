"""Networks of univariate Gaussian mixture neurons."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pyro.nn import PyroModuleList
from torch import Tensor

from ..checks import check, check_integer
from ..standardization import center_and_spread
from ..tables import Table, as_table
from .layer import STAND_INS, UGMMLayer
from .local_parameters import LocalModule
from .normalization import normalization_of
from .rows import as_rows

__all__ = ["UGMMNetwork", "check_network"]

_INITIALIZATION_ROWS = 1024


def check_network(network: Any) -> None:
    """Checks that ``network`` is one."""
    check(isinstance(network, UGMMNetwork), "network", "a UGMMNetwork", type(network).__name__)


def _as_list(values: Any) -> Any:
    """Turns what holds several numbers into a list of them; returns all else as it is."""
    is_array = isinstance(values, np.ndarray | Tensor) and values.ndim == 1
    return values.tolist() if is_array else values


def _as_sizes(sizes: Any) -> tuple[int, ...]:
    given = _as_list(sizes)
    is_sequence = isinstance(given, Sequence) and not isinstance(given, str | bytes)
    check(is_sequence, "sizes", "a sequence of integers", repr(sizes))
    check(len(given) > 1, "sizes", "at least two sizes", tuple(given))
    return tuple(check_integer("sizes", size) for size in given)


def _as_dropouts(dropout: Any, n_layers: int) -> tuple[Any, ...]:
    """One probability for each layer, which checks it."""
    given = _as_list(dropout)
    is_sequence = isinstance(given, Sequence) and not isinstance(given, str | bytes)
    dropouts = tuple(given) if is_sequence else (given,) * n_layers
    expected = f"one number, or {n_layers}, one per layer"
    check(len(dropouts) == n_layers, "dropout", expected, dropout)
    return dropouts


class UGMMNetwork(LocalModule):
    r"""Layers of mixture neurons, each of which scores the scores of the one before.

    .. math:: h^{(0)} = x, \qquad h^{(i)}_j = \log \sum_k w^{(i)}_{jk} \,
        \mathcal{N}\bigl(h^{(i-1)}_k \mid \mu^{(i)}_{jk}, (\sigma^{(i)}_{jk})^2\bigr)

    It is a Pyro module, and works as a plain torch module too. Source: Ali (2025),
    arXiv:2509.07569.

    Scores of a wide layer differ little from each other. So each row's are standardized before the
    next layer: layer normalization without parameters (Ba, Kiros and Hinton 2016,
    arXiv:1607.06450), without which images take many times the steps. It treats rows apart, as
    the models of this library and cross-validation need; batch normalization would couple them.
    ``normalization="none"`` is the paper's network.

    Args:
        sizes: the number of features, then of each layer's neurons.
        dropout: the component dropout, one number or one per layer.
        min_scale: a floor under the learned scales.
        missing: what a NaN among the features means: an ``"error"``, or a feature to ``"omit"``;
            see :class:`UGMMLayer`.
        normalization: what stands between layers: ``"layer"``, or ``"none"`` as in the paper.
        device, dtype: of the parameters.

    Raises:
        ValueError: if there are fewer than two sizes, or as many dropouts as layers are not given.

    Example:
        >>> import torch
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> net = UGMMNetwork([4, 16, 3], dropout=0.1)
        >>> net
        UGMMNetwork([4, 16, 3], dropout=(0.1, 0.1), n_parameters=336)
        >>> net(torch.randn(10, 4)).shape
        torch.Size([10, 3])
    """

    def __init__(
        self,
        sizes: Sequence[int] | np.ndarray | Tensor,
        dropout: float | Sequence[float] | np.ndarray | Tensor = 0.0,
        *,
        min_scale: float = 1e-4,
        missing: str = "error",
        normalization: str = "layer",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        sizes = _as_sizes(sizes)
        dropouts = _as_dropouts(dropout, len(sizes) - 1)
        normalize = normalization_of(normalization)
        narrow = normalization != "none" and 1 in sizes[1:-1]
        expected = "hidden layers of 2 neurons or more to be normalized (or normalization='none')"
        check(not narrow, "sizes", expected, sizes)
        super().__init__()
        self.sizes = sizes
        self.normalization, self._normalize = str(normalization), normalize
        kind: dict[str, Any] = {"min_scale": min_scale, "device": device, "dtype": dtype}
        self.layers = PyroModuleList(
            [  # scores are not missing
                UGMMLayer(*pair, probability, missing="error" if i else missing, **kind)
                for i, (pair, probability) in enumerate(
                    zip(itertools.pairwise(sizes), dropouts, strict=True)
                )
            ]
        )
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, x: Any = None) -> None:
        """Draws new parameters, so that the network trains at once on inputs like ``x``.

        The scores of a layer of many neurons vary little (by one over the square root of the
        width) around a value that is not zero, so that parameters on a fixed scale would leave
        the next layer without a signal. Each layer is therefore initialized for the scores that
        reach it (``UGMMLayer.reset_parameters``), as Mishkin and Matas (2016, arXiv:1511.06422)
        do for other networks.

        Args:
            x: inputs of shape ``(n, K)``, in whatever holds rows: a tensor, an array, a data
                frame; standard normal ones are drawn if none are given.

        Raises:
            ValueError: if they do not fit the network, or its dtype cannot hold their scores.
        """
        first, *others = self.layers
        like = first.input_center
        rows = None if x is None else as_rows(x, like, self.missing, "the network")
        first.initialize(rows)
        if rows is None:
            kind = {"dtype": like.dtype, "device": like.device}
            scores = torch.randn(_INITIALIZATION_ROWS, self.sizes[0], **kind)
        else:
            scores = rows.values.detach()
        for layer, following in itertools.pairwise([first, *others]):
            # Outside Pyro, so that the network can still join a module.
            scores = self._normalize(layer.forward(scores))
            if rows is not None:
                valid = scores.isfinite().all(-1, keepdim=True)
                expected = f"values whose scores {scores.dtype} can hold (standardize the columns)"
                rows.check_entries(valid.expand_as(rows.values), expected)
            following.initialize(Table("x", scores, is_tensor=True))

    @torch.no_grad()
    def measure_inputs(self, x: Any) -> None:
        """Notes the location and scale of the scores that reach each hidden layer now, given
        inputs of shape ``(n, K)``; priors over a layer's parameters take them as units.
        """
        scores = as_table("x", x).like("the network", self.layers[0].input_center).values
        for layer, following in itertools.pairwise(self.layers):
            scores = self._normalize(layer(scores))
            if len(scores) < 2 or not scores.isfinite().all():
                return
            center, spread = center_and_spread(scores)
            following.input_center.copy_(center)
            following.input_spread.copy_(spread)

    def forward(self, x: Tensor, parameters: Mapping[str, Tensor] | None = None) -> Tensor:
        """Scores inputs of shape ``B + (K,)``; the result has shape ``B + (sizes[-1],)``.

        Args:
            x: the inputs.
            parameters: replacements for parameters, named ``layers.{i}.loc``, ``.scale``,
                ``.logits`` or ``.log_weights``, with any leading dimensions; see
                :meth:`UGMMLayer.forward`. If there is any, dropout is off in its layer.
        """
        is_mapping = parameters is None or isinstance(parameters, Mapping)
        check(is_mapping, "parameters", "tensors by name, or None", type(parameters).__name__)
        parameters = dict(parameters or {})
        for i, layer in enumerate(self.layers):
            given = {name: parameters.pop(f"layers.{i}.{name}", None) for name in STAND_INS}
            x = layer(self._normalize(x) if i else x, **given)
        check(
            not parameters,
            "parameters",
            f"names like layers.0.{', .'.join(STAND_INS)}",
            sorted(parameters),
        )
        return x

    @property
    def missing(self) -> str:
        """What a NaN among the features means."""
        return self.layers[0].missing

    def __repr__(self) -> str:
        chosen = {"missing": self.missing, "normalization": self.normalization}
        usual = ("error", "layer")
        said = "".join(
            f", {name}={value!r}" for name, value in chosen.items() if value not in usual
        )
        dropouts = tuple(layer.dropout for layer in self.layers)
        dropout = f", dropout={dropouts}" if any(dropouts) else ""
        count = sum(parameter.numel() for parameter in self.parameters())
        return f"{type(self).__name__}({list(self.sizes)}{dropout}{said}, n_parameters={count})"
