"""Fitted models and their guides in files, without pickles."""

import json
import os
from typing import Any

import pyro.distributions as dist
import torch
from pyro.infer.autoguide import (
    AutoGuide,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
)

from .checks import check
from .files import write_atomically
from .guides import full_rank, low_rank, mean_field
from .models import BayesianGaussianMixture, Priors, UGMMClassifier, UGMMDensity
from .models.base import BayesianModel

__all__ = ["load_fitted", "save_fitted"]

_FORMAT = "pyro_ugmm fitted model 1"
_MODELS = {m.__name__: m for m in (BayesianGaussianMixture, UGMMClassifier, UGMMDensity)}
_GUIDES = {
    AutoNormal: mean_field,
    AutoLowRankMultivariateNormal: low_rank,
    AutoMultivariateNormal: full_rank,
}


def _describe_distribution(name: str, distribution: Any) -> dict[str, Any] | None:
    if distribution is None:
        return None
    kind = type(distribution).__name__
    found = {
        "kind": kind,
        "parameters": {p: float(getattr(distribution, p)) for p in distribution.arg_constraints},
    }
    expected = "one of pyro.distributions, given by numbers"
    try:
        same = type(_make_distribution(found)) is type(distribution)
    except (AttributeError, TypeError, ValueError):
        same = False
    check(same, f"priors.{name}", expected, str(distribution))
    return found


def _make_distribution(found: dict[str, Any] | None) -> Any:
    return None if found is None else getattr(dist, found["kind"])(**found["parameters"])


def _describe_priors(priors: Priors | None) -> dict[str, Any] | None:
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


def _make_priors(found: dict[str, Any] | None, dtype: torch.dtype) -> Priors | None:
    if found is None:
        return None
    found = dict(found)
    for name in ("means", "variances"):
        found[name] = _make_distribution(found[name])
    for name in ("center", "spread"):
        found[name] = torch.tensor(found[name], dtype=dtype)
    return Priors(**found)


def save_fitted(path: str | os.PathLike, model: BayesianModel, guide: AutoGuide | None) -> None:
    """Writes a model and its fitted guide to a safetensors file, atomically.

    Args:
        path: the file.
        model: the model.
        guide: what a function of :mod:`pyro_ugmm.guides` made, or Pyro's autoguides of these
            kinds; None for a model at maximum likelihood.

    Raises:
        ValueError: if the model or guide is of another kind, or has not run yet; or a prior is
            not one of ``pyro.distributions`` given by numbers.

    Example:
        >>> import pathlib, tempfile, torch
        >>> from pyro_ugmm.guides import mean_field
        >>> from pyro_ugmm.models import Priors, UGMMClassifier
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> from pyro_ugmm.saving import load_fitted, save_fitted
        >>> from pyro_ugmm.training import fit_svi
        >>> model = UGMMClassifier(UGMMNetwork([2, 4, 3]), Priors())
        >>> guide = mean_field(model)
        >>> x, y = torch.randn(30, 2), torch.arange(30) % 3
        >>> fitted = fit_svi(model, guide, x, y, steps=10, progress=False)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "fitted.safetensors"
        ...     save_fitted(path, model, guide)
        ...     again, guide = load_fitted(path)
        >>> again
        UGMMClassifier(UGMMNetwork([2, 4, 3], n_parameters=60), priors=Priors(...))
    """
    from safetensors.torch import save

    kind = type(model).__name__
    check(_MODELS.get(kind) is type(model), "model", f"one of {[*_MODELS]}", kind)
    description: dict[str, Any] = {
        "model": kind,
        "arguments": model.arguments(),
        "priors": _describe_priors(model.priors),
        "dtype": str(next(model.buffers()).dtype).removeprefix("torch."),
        "guide": None,
        "frozen": [name for name, p in model.named_parameters() if not p.requires_grad],
    }
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    if guide is not None:
        names = [known.__name__ for known in _GUIDES]
        check(type(guide) in _GUIDES, "guide", f"one of {names} or None", type(guide).__name__)
        has_run = guide.prototype_trace is not None
        check(has_run, "guide", "a fitted guide", "one that never ran")
        description["guide"] = type(guide).__name__
        description["rank"] = getattr(guide, "rank", None)
        tensors |= {f"guide.{name}": tensor for name, tensor in guide.state_dict().items()}
    contents = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"format": _FORMAT, "description": json.dumps(description)}
    write_atomically(path, save(contents, metadata))


def load_fitted(path: str | os.PathLike) -> tuple[Any, Any]:
    """Reads what :func:`save_fitted` wrote: the model, and its guide or None, on the CPU.

    Raises:
        ValueError: if the file is damaged, or not of a fitted model.

    Example:
        >>> import pathlib, tempfile
        >>> from pyro_ugmm.models import UGMMClassifier
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> from pyro_ugmm.saving import load_fitted, save_fitted
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "fitted.safetensors"
        ...     save_fitted(path, UGMMClassifier(UGMMNetwork([2, 4, 3])), guide=None)
        ...     load_fitted(path)
        (UGMMClassifier(UGMMNetwork([2, 4, 3], n_parameters=60), priors=None), None)
    """
    from safetensors import SafetensorError, safe_open

    expected = "a file that save_fitted wrote"
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"path: expected {expected}, got {path}: {error}") from error
    check(metadata.get("format") == _FORMAT, "path", expected, f"{path} with {metadata}")
    try:
        return _rebuild(json.loads(metadata["description"]), tensors)
    except (AttributeError, LookupError, RuntimeError, StopIteration, TypeError) as error:
        found = f"{path}: {type(error).__name__}: {error}"
        raise ValueError(f"path: expected {expected}, got {found}") from error


def _rebuild(description: dict[str, Any], tensors: dict[str, torch.Tensor]) -> tuple[Any, Any]:
    dtype = getattr(torch, description["dtype"])
    priors = _make_priors(description["priors"], dtype)
    with torch.random.fork_rng(devices=[]):  # what is drawn at random here is replaced below
        state = _part(tensors, "model.")
        kind = _MODELS[description["model"]]
        model = kind.from_arguments(description["arguments"], priors, dtype, state)
        model.load_state_dict(state)
        for name in description.get("frozen", []):
            model.get_parameter(name).requires_grad_(False)
        if description["guide"] is None:
            return model, None
        make = next(f for kind, f in _GUIDES.items() if kind.__name__ == description["guide"])
        rank = {"rank": description["rank"]} if description["rank"] is not None else {}
        guide = make(model, **rank)
        with torch.no_grad():
            guide(model.example_row())  # makes the parameters
        guide.load_state_dict(_part(tensors, "guide."))
    return model, guide


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
