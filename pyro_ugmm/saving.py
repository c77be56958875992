"""Fitted models and their guides in files, without pickles."""

import json
import os
from collections.abc import Callable
from typing import Any

import torch
from pyro.infer.autoguide import (
    AutoGuide,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
)

from .checks import check
from .guides import full_rank, low_rank, mean_field
from .models import BayesianGaussianMixture, UGMMClassifier, UGMMDensity
from .models.base import BayesianModel
from .pyro_state import exclusive_pyro
from .randomness import seeded
from .safetensors_file import read_safetensors, write_safetensors
from .saved_description import (
    check_description,
    check_guide_sizes,
    check_model_sizes,
    check_tensors,
    describe_priors,
    load_state,
    make_priors,
)

__all__ = ["load_fitted", "save_fitted"]

_FORMAT = "pyro_ugmm fitted model 3"
_MODELS = {m.__name__: m for m in (BayesianGaussianMixture, UGMMClassifier, UGMMDensity)}
_GUIDES: dict[type[AutoGuide], Callable[..., AutoGuide]] = {
    AutoNormal: mean_field,
    AutoLowRankMultivariateNormal: low_rank,
    AutoMultivariateNormal: full_rank,
}


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
    kind = type(model).__name__
    check(_MODELS.get(kind) is type(model), "model", f"one of {[*_MODELS]}", kind)
    description: dict[str, Any] = {
        "model": kind,
        "arguments": model.arguments(),
        "priors": describe_priors(model.priors),
        "dtype": str(next(model.buffers()).dtype).removeprefix("torch."),
        "guide": None,
        "rank": None,
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
    metadata = {"format": _FORMAT, "description": json.dumps(description)}
    write_safetensors(path, tensors, metadata)


def load_fitted(path: str | os.PathLike) -> tuple[Any, Any]:
    """Reads what :func:`save_fitted` wrote: the model, and its guide or None, on the CPU.

    Raises:
        ValueError: if the file is damaged, or not of a fitted model; the message names the file and
            the field.

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
    expected = "a file that save_fitted wrote"
    file = read_safetensors(path, expected)
    try:
        found = _rebuild(_described(file.metadata), file.tensors)
        file.check_digest()  # at the end, so that an error names the field that is damaged
        return found
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        got = f"{path}, in which {kind}{error}"
        raise ValueError(f"path: expected {expected}, got {got}") from error


def _described(metadata: dict[str, str]) -> dict[str, Any]:
    check(metadata.get("format") == _FORMAT, "format", repr(_FORMAT), repr(metadata.get("format")))
    check("description" in metadata, "description", "a model's", "none")
    return json.loads(metadata["description"])


@torch.inference_mode(False)  # so that it can be trained, wherever it is loaded
def _rebuild(description: dict[str, Any], tensors: dict[str, torch.Tensor]) -> tuple[Any, Any]:
    guides = {kind.__name__: make for kind, make in _GUIDES.items()}
    dtype = check_description(description, guides)
    check_tensors(tensors, dtype)
    kind, arguments = description["model"], description["arguments"]
    check_model_sizes(kind, arguments, tensors)
    priors = make_priors(description["priors"], dtype)
    with exclusive_pyro(), seeded(0):  # what is drawn at random here is replaced below
        prefix = "model."
        state = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        model = _MODELS[kind].from_arguments(arguments, priors, dtype, state)
        load_state(model, tensors, "model.")
        parameters = dict(model.named_parameters())
        for name in description["frozen"]:
            check(name in parameters, "frozen", f"names among {[*parameters]}", repr(name))
            parameters[name].requires_grad_(False)
        name, rank = description["guide"], description["rank"]
        prefixes = ("model.",) if name is None else ("model.", "guide.")
        unknown = sorted(found for found in tensors if not found.startswith(prefixes))
        check(not unknown, "tensors", f"none but those of {' and '.join(prefixes)}", unknown)
        if name is None:
            check(rank is None, "rank", "null, without a guide", repr(rank))
            return model, None
        check_guide_sizes(name, rank, model, tensors)
        guide = guides[name](model) if rank is None else guides[name](model, rank=rank)
        with torch.no_grad():
            guide(model.example_row())  # makes the parameters
        load_state(guide, tensors, "guide.")
    return model, guide
