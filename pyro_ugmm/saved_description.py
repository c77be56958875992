"""What a file says of a fitted model, and whether its tensors bear that out."""

import itertools
import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import biject_to

from .checks import check, check_integer
from .models import Priors
from .models.base import BayesianModel

__all__ = [
    "check_description",
    "check_guide_sizes",
    "check_model_sizes",
    "check_tensors",
    "describe_priors",
    "load_state",
    "make_priors",
]

_LOC_SCALE, _SHAPES = ("loc", "scale"), ("concentration1", "concentration0")
_FAMILIES = {
    "AffineBeta": (*_SHAPES, *_LOC_SCALE),
    "AsymmetricLaplace": (*_LOC_SCALE, "asymmetry"),
    "Beta": _SHAPES,
    "Cauchy": _LOC_SCALE,
    "Chi2": ("df",),
    "Exponential": ("rate",),
    "FisherSnedecor": ("df1", "df2"),
    "Gamma": ("concentration", "rate"),
    "Gumbel": _LOC_SCALE,
    "HalfCauchy": ("scale",),
    "HalfNormal": ("scale",),
    "InverseGamma": ("concentration", "rate"),
    "Kumaraswamy": _SHAPES,
    "Laplace": _LOC_SCALE,
    "LogNormal": _LOC_SCALE,
    "Logistic": _LOC_SCALE,
    "Normal": _LOC_SCALE,
    "Pareto": ("alpha", "scale"),
    "SkewLogistic": (*_LOC_SCALE, "asymmetry"),
    "SoftAsymmetricLaplace": (*_LOC_SCALE, "asymmetry", "softness"),
    "SoftLaplace": _LOC_SCALE,
    "StableWithLogProb": ("stability", "skew", *_LOC_SCALE),
    "StudentT": ("df", *_LOC_SCALE),
    "Uniform": ("low", "high"),
    "VonMises": ("loc", "concentration"),
    "Weibull": ("scale", "concentration"),
}
_NETWORK = {"sizes", "dropout", "min_scale", "missing", "normalization"}
_ARGUMENTS = {
    "BayesianGaussianMixture": {"n_components", "n_features", "covariance", "missing"},
    "UGMMClassifier": _NETWORK,
    "UGMMDensity": _NETWORK | {"n_classes", "objective"},
}
_FIELDS = {"model", "arguments", "priors", "dtype", "guide", "rank", "frozen"}
_PRIORS = {"means", "variances", "weights", "correlations", "center", "spread"}
_DTYPES = {"float32": torch.float32, "float64": torch.float64}
_POSITIVE = ("spread", "start_variance")


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, Real) and not isinstance(value, bool)
    return is_real and math.isfinite(float(value))


def _check_fields(name: str, found: Any, expected: set[str]) -> None:
    got = type(found).__name__
    check(isinstance(found, Mapping), name, f"the fields {sorted(expected)}", got)
    missing, unknown = sorted(expected - {*found}), sorted({*found} - expected)
    got = f"none of {missing}" if missing else f"{unknown}, too"
    check(not missing and not unknown, name, f"the fields {sorted(expected)}", got)


def _describe_distribution(name: str, distribution: Any) -> dict[str, Any] | None:
    if distribution is None:
        return None
    kind = type(distribution).__name__
    known = kind in _FAMILIES and getattr(dist, kind) is type(distribution)
    expected = f"one of pyro.distributions, given by numbers: {', '.join(_FAMILIES)}"
    check(known, f"priors.{name}", expected, str(distribution))
    names = _FAMILIES[kind]
    return {"kind": kind, "parameters": {p: float(getattr(distribution, p)) for p in names}}


def _make_distribution(name: str, found: Any) -> Any:
    if found is None:
        return None
    _check_fields(name, found, {"kind", "parameters"})
    kind, parameters = found["kind"], found["parameters"]
    known = isinstance(kind, str) and kind in _FAMILIES
    check(known, f"{name}.kind", f"one of {', '.join(_FAMILIES)}", repr(kind))
    _check_fields(f"{name}.parameters", parameters, {*_FAMILIES[kind]})
    for parameter, value in parameters.items():
        check(_is_number(value), f"{name}.parameters.{parameter}", "a number", repr(value))
    try:
        return getattr(dist, kind)(**parameters, validate_args=True)
    except ValueError as error:
        raise ValueError(f"{name}: expected parameters of {kind}, got {error}") from None


def describe_priors(priors: Priors | None) -> dict[str, Any] | None:
    """Describes priors as JSON can hold them.

    Raises:
        ValueError: if one is not a distribution that :func:`make_priors` knows.
    """
    if priors is None:
        return None
    return {
        "means": _describe_distribution("means", priors.means),
        "variances": _describe_distribution("variances", priors.variances),
        "weights": priors.weights,
        "correlations": priors.correlations,
        "center": priors.center.tolist(),
        "spread": priors.spread.tolist(),
    }


def make_priors(found: Any, dtype: torch.dtype) -> Priors | None:
    """Makes priors of a description.

    Raises:
        ValueError: if it is none; the message names the field.
    """
    if found is None:
        return None
    _check_fields("priors", found, _PRIORS)
    values = dict(found)
    for name in ("means", "variances"):
        values[name] = _make_distribution(f"priors.{name}", found[name])
    for name in ("weights", "correlations"):
        valid = found[name] is None or _is_number(found[name])
        check(valid, f"priors.{name}", "a number or null", repr(found[name]))
    for name in ("center", "spread"):
        given = found[name] if isinstance(found[name], list) else [found[name]]
        expected = "a number, or a list of numbers"
        check(all(map(_is_number, given)), f"priors.{name}", expected, repr(found[name]))
        values[name] = torch.tensor(found[name], dtype=dtype)
    return Priors(**values)


def check_description(found: Any, guides: Mapping[str, Callable]) -> torch.dtype:
    """Checks what a description says, and returns the model's dtype.

    Raises:
        ValueError: if a field is missing, unknown or not valid; the message names it.
    """
    _check_fields("description", found, _FIELDS)
    kind, guide, rank, frozen = (found[name] for name in ("model", "guide", "rank", "frozen"))
    known = isinstance(kind, str) and kind in _ARGUMENTS
    check(known, "model", f"one of {[*_ARGUMENTS]}", repr(kind))
    _check_fields("arguments", found["arguments"], _ARGUMENTS[kind])
    known = isinstance(found["dtype"], str) and found["dtype"] in _DTYPES
    check(known, "dtype", f"one of {[*_DTYPES]}", repr(found["dtype"]))
    known = guide is None or (isinstance(guide, str) and guide in guides)
    check(known, "guide", f"one of {[*guides]}, or null", repr(guide))
    if rank is not None:
        check_integer("rank", rank)
    is_names = isinstance(frozen, list) and all(isinstance(name, str) for name in frozen)
    check(is_names, "frozen", "a list of names of parameters", repr(frozen))
    return _DTYPES[found["dtype"]]


def check_tensors(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> None:
    """Checks that tensors hold numbers of a dtype, which are finite, or -inf among logits.

    Raises:
        ValueError: if one does not; the message names it.
    """
    for name, tensor in tensors.items():
        check(tensor.dtype == dtype, name, f"{dtype}, as the file says", tensor.dtype)
        valid, expected = tensor.isfinite(), "finite values"
        if name.endswith("logits"):
            valid, expected = valid | (tensor == -math.inf), "finite values or -inf"
        elif name.endswith(_POSITIVE):
            valid, expected = valid & (tensor > 0), "finite positive values"
        check(valid.all(), name, expected, f"{int((~valid).sum())} others of {tensor.numel()}")


def _check_shape(tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> None:
    found = tuple(tensors[name].shape) if name in tensors else "none"
    check(found == shape, name, f"a tensor of shape {shape}, as the description says", found)


def check_model_sizes(
    kind: str, arguments: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Checks that a file holds tensors of the sizes that it claims, before any is made.

    Raises:
        ValueError: if it does not; the message names the field, or the tensor.
    """
    if kind == "BayesianGaussianMixture":
        names = ("n_components", "n_features")
        sizes = [check_integer(f"arguments.{name}", arguments[name]) for name in names]
        _check_shape(tensors, "model.sites.start_means", tuple(sizes))
        return
    sizes = arguments["sizes"]
    valid = isinstance(sizes, list) and len(sizes) > 1
    check(valid, "arguments.sizes", "a list of two sizes or more", repr(sizes)[:80])
    sizes = [check_integer("arguments.sizes", size) for size in sizes]
    for i, (inputs, neurons) in enumerate(itertools.pairwise(sizes)):
        layer = f"model.network.layers.{i}."
        for name in ("loc", "scale_unconstrained", "logits"):
            _check_shape(tensors, layer + name, (neurons, inputs))
        for name in ("input_center", "input_spread"):
            _check_shape(tensors, layer + name, (inputs,))
    if "n_classes" in arguments:
        n_classes = check_integer("arguments.n_classes", arguments["n_classes"])
        _check_shape(tensors, "model.label_codes", (n_classes,))


def load_state(module: torch.nn.Module, tensors: Mapping[str, Tensor], prefix: str) -> None:
    """Loads what a file holds of a module, under names with a prefix.

    Raises:
        ValueError: if a tensor is missing, unknown, or of another shape; the message names it.
    """
    state = module.state_dict()
    for name, own in state.items():
        _check_shape(tensors, prefix + name, tuple(own.shape))
    found = {name for name in tensors if name.startswith(prefix)}
    unknown = sorted(found - {prefix + name for name in state})
    check(not unknown, "tensors", f"none but those of a {type(module).__name__}", unknown)
    module.load_state_dict({name: tensors[prefix + name] for name in state})


def check_guide_sizes(
    guide: str, rank: int | None, model: BayesianModel, tensors: Mapping[str, Tensor]
) -> None:
    """Checks that a file holds a guide's matrices for a model, before any is made.

    Raises:
        ValueError: if it does not; the message names the tensor.
    """
    n_latent = 0
    for prior in model.site_distributions().values():
        free = biject_to(prior.support).inverse_shape(prior.event_shape)
        n_latent += math.prod(free)
    check(n_latent, "guide", "null, since the model has no priors", repr(guide))
    has_rank = guide == "AutoLowRankMultivariateNormal"
    check((rank is not None) == has_rank, "rank", f"one, or null, as fits {guide}", repr(rank))
    if guide == "AutoMultivariateNormal":
        _check_shape(tensors, "guide.scale_tril_unconstrained", (n_latent, n_latent))
    elif has_rank:
        _check_shape(tensors, "guide.cov_factor", (n_latent, rank or 0))
