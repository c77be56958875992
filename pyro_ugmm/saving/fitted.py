"""Fitted models with their guides or samples in files, without pickles."""

import os
from typing import Any

import torch
from pyro.infer.autoguide import AutoGuide
from torch import Tensor

from ..checks import check
from ..models import Priors
from ..models.base import BayesianModel
from ..pyro_state import exclusive_pyro
from ..randomness import seeded
from ..safetensors_file import read_safetensors, write_safetensors
from ..sampling import PosteriorSample
from .description import Description
from .guides import GUIDES
from .models import MODELS
from .samples import restore_sample, tensors_of_sample
from .tensors import check_shape, check_tensors, load_state

__all__ = ["load_fitted", "save_fitted"]

_FORMAT = "pyro_ugmm fitted model 5"
_SAMPLE = "sample."


def save_fitted(
    path: str | os.PathLike, model: BayesianModel, guide: AutoGuide | PosteriorSample | None
) -> None:
    """Writes a model and its fitted guide, or a sample, to a safetensors file, atomically.

    Args:
        path: the file.
        model: the model.
        guide: what a function of :mod:`pyro_ugmm.guides` made, or Pyro's autoguides of these
            kinds; a sample of the model's posterior; None for a model at maximum likelihood.

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
    said = Description.of(model, guide).to_json()
    parts = {"model": model.state_dict()}
    if isinstance(guide, PosteriorSample):
        parts["sample"] = tensors_of_sample(guide)
    elif guide is not None:
        parts["guide"] = guide.state_dict()
    tensors = {f"{part}.{name}": tensor for part in parts for name, tensor in parts[part].items()}
    write_safetensors(path, tensors, {"format": _FORMAT, "description": said})


def load_fitted(path: str | os.PathLike) -> tuple[Any, Any]:
    """Reads what :func:`save_fitted` wrote: the model, and its guide, sample or None, on the CPU.

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
        restored = _restore(_described(file.metadata), file.tensors)
        file.check_digest()  # at the end, so that an error names the field that is damaged
        return restored
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        got = f"{path}, in which {kind}{error}"
        raise ValueError(f"path: expected {expected}, got {got}") from error


def _described(metadata: dict[str, str]) -> Description:
    given = metadata.get("format")
    check(given == _FORMAT, "format", repr(_FORMAT), repr(given))
    check("description" in metadata, "description", "a model's", "none")
    return Description.from_json(metadata["description"])


@torch.inference_mode(False)  # so that it can be trained, wherever it is loaded
def _restore(said: Description, tensors: dict[str, Tensor]) -> tuple[Any, Any]:
    of_sample = {name: tensor for name, tensor in tensors.items() if name.startswith(_SAMPLE)}
    check_tensors({n: tensors[n] for n in tensors.keys() - of_sample.keys()}, said.torch_dtype)
    prefixes = ["model."]
    prefixes += ["guide."] * (said.guide is not None) + [_SAMPLE] * (said.sample is not None)
    with exclusive_pyro(), seeded(0):  # what is drawn at random here is replaced below
        model = _restore_model(said, tensors)
        unknown = sorted(name for name in tensors if not name.startswith(tuple(prefixes)))
        check(not unknown, "tensors", f"none but those of {' and '.join(prefixes)}", unknown)
        if said.sample is not None:
            parts = {name.removeprefix(_SAMPLE): tensor for name, tensor in of_sample.items()}
            return model, restore_sample(said.sample, parts, model, said.torch_dtype)
        if said.guide is None:
            return model, None
        guide = GUIDES[said.guide].make(said.rank, model, tensors)
        load_state(guide, tensors, "guide.")
    return model, guide


def _restore_model(said: Description, tensors: dict[str, Tensor]) -> Any:
    saved = MODELS[said.model]
    for name, shape in saved.shapes(said.arguments).items():
        check_shape(tensors, name, shape)
    dtype, priors = said.torch_dtype, None
    if said.priors is not None:
        priors = Priors.from_description(said.priors, dtype)
    prefix = "model."
    state = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    model = saved.kind.from_arguments(said.arguments, priors, dtype, state)  # type: ignore
    load_state(model, tensors, prefix)
    parameters = dict(model.named_parameters())
    for name in said.frozen:
        check(name in parameters, "frozen", f"names among {[*parameters]}", repr(name))
        parameters[name].requires_grad_(False)
    return model
