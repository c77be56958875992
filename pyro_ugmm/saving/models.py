"""The models that files hold: what each is made with, and which tensors that takes."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..checks import check, check_integer
from ..models import (
    BayesianGaussianMixture,
    HierarchicalGaussianMixture,
    UGMMClassifier,
    UGMMDensity,
    UGMMRegressor,
)

__all__ = ["MODELS"]

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class SavedModel:
    """A kind of model.

    Attributes:
        kind: its class.
        arguments: names what it is made with.
        shapes: says of arguments which tensors a file must hold before such a model is made.
    """

    kind: type
    arguments: frozenset[str]
    shapes: Callable[[Mapping[str, Any]], Shapes]


def _mixture_shapes(arguments: Mapping[str, Any]) -> Shapes:
    names = ("n_components", "n_features")
    sizes = (check_integer(f"arguments.{name}", arguments[name]) for name in names)
    return {"model.sites.start_means": tuple(sizes)}


def _groups_shapes(arguments: Mapping[str, Any]) -> Shapes:
    names = ("n_components", "n_features")
    sizes = (check_integer(f"arguments.{name}", arguments[name]) for name in names)
    check_integer("arguments.n_groups", arguments["n_groups"])
    return {"model.sites.unit": tuple(sizes)}


def _network_shapes(arguments: Mapping[str, Any]) -> Shapes:
    sizes = arguments["sizes"]
    valid = isinstance(sizes, list) and len(sizes) > 1
    check(valid, "arguments.sizes", "a list of two sizes or more", repr(sizes)[:80])
    sizes = [check_integer("arguments.sizes", size) for size in sizes]
    shapes: Shapes = {}
    for i, (inputs, neurons) in enumerate(itertools.pairwise(sizes)):
        layer = f"model.network.layers.{i}."
        for name in ("loc", "scale_unconstrained", "logits"):
            shapes[layer + name] = neurons, inputs
        for name in ("input_center", "input_spread"):
            shapes[layer + name] = (inputs,)
    return shapes


def _density_shapes(arguments: Mapping[str, Any]) -> Shapes:
    shapes = _network_shapes(arguments)
    n_classes = check_integer("arguments.n_classes", arguments["n_classes"])
    return shapes | {"model.label_codes": (n_classes,)}


def _regressor_shapes(arguments: Mapping[str, Any]) -> Shapes:
    shapes = _network_shapes(arguments)
    n_outputs = check_integer("arguments.n_outputs", arguments["n_outputs"])
    components = (n_outputs, arguments["sizes"][-1] // n_outputs)
    names = ("standard_loc", "standard_scale_unconstrained", "start_loc", "start_scale")
    shapes |= {f"model.outputs.{name}": components for name in names}
    return shapes | {f"model.outputs.{name}": (n_outputs, 1) for name in ("center", "spread")}


_MIXTURE = frozenset({"n_components", "n_features", "covariance", "rank", "missing", "given"})
_GROUPS = frozenset(
    {"n_groups", "n_components", "n_features", "covariance", "group_scale", "missing"}
)
_NETWORK = frozenset({"sizes", "dropout", "min_scale", "missing", "normalization"})
_REGRESSION = frozenset({"n_outputs", "targets", "min_output_scale"})
MODELS = {
    one.kind.__name__: one
    for one in (
        SavedModel(BayesianGaussianMixture, _MIXTURE, _mixture_shapes),
        SavedModel(HierarchicalGaussianMixture, _GROUPS, _groups_shapes),
        SavedModel(UGMMClassifier, _NETWORK, _network_shapes),
        SavedModel(UGMMDensity, _NETWORK | {"n_classes", "objective"}, _density_shapes),
        SavedModel(UGMMRegressor, _NETWORK | _REGRESSION, _regressor_shapes),
    )
}
"""By name."""
