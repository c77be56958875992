"""What tells one training run from others, as words and fingerprints by name."""

import contextlib
import functools
import json
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from pyro.infer.autoguide import AutoGuide
from pyro.nn import PyroModule
from torch import Tensor
from torch.distributions import biject_to

from ..checkpoint import Checkpoint
from ..fingerprints import fingerprint, is_of_library
from ..models.families import describe, show
from ..models.priors import Priors
from ..processes import is_distributed
from ..programs.arguments import HasArguments
from ..sources import Batches

__all__ = ["guide_identity", "model_identity", "same_run", "start_of", "values_of"]

_UNITS = ("center", "spread")
_PLAIN = (bool, int, float, str, tuple)
_COMPOSED = (
    *(list, dict, set, frozenset, Tensor, np.ndarray, np.generic),
    *(types.FunctionType, types.MethodType, functools.partial),
)
_OF_ANY_MODULE = {*vars(PyroModule("any"))}


def _told(prior: Any) -> str:
    """A prior as it is shown; of one that numbers do not tell, its class and density."""
    is_distribution = isinstance(prior, torch.distributions.Distribution)
    if not is_distribution or describe(prior) is not None:
        return show(prior)
    points = biject_to(prior.support)(torch.linspace(-2.0, 2.0, 9))
    return f"{type(prior).__name__} {fingerprint(type(prior), prior.log_prob(points))}"


def model_identity(model: Any) -> dict[str, str]:
    """What tells a model from others, its parameters' values excepted."""
    knows_itself = isinstance(model, HasArguments)
    if not knows_itself:
        return {"model": guide_identity(getattr(model, "function", model))}
    arguments = json.dumps(model.arguments(), sort_keys=True, default=str)
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    own = [_settings(part) for part in model.modules() if not is_of_library(type(part))]
    identity = {
        "model": f"{type(model).__name__}({arguments}) {fingerprint(type(model), own)}",
        "frozen parameters": ", ".join(frozen) or "none",
    }
    priors = model.priors
    if isinstance(priors, Priors):
        names = ("means", "variances", "weights", "correlations")
        said = [f"{name}={_told(getattr(priors, name))}" for name in names]
        identity["priors"] = f"{', '.join(said)}, units {fingerprint([*_units(model)])}"
    return identity


def _units(model: Any) -> Iterator[Tensor]:
    """The centers and spreads of the priors, those of hidden layers included."""
    yield from (model.priors.center.detach(), model.priors.spread.detach())
    for name, buffer in model.named_buffers():
        if not name.startswith("network.") and name.rpartition(".")[2] in _UNITS:
            yield buffer.detach()


def guide_identity(guide: Callable) -> str:
    """What tells a guide from others, its parameters' values excepted."""
    if not isinstance(guide, torch.nn.Module):
        return f"{getattr(guide, '__qualname__', type(guide).__name__)} {fingerprint(guide)}"
    settings = [_settings(part) for part in guide.modules() if not isinstance(part, HasArguments)]
    return f"{type(guide).__name__} {fingerprint(settings)}"


def _settings(module: torch.nn.Module) -> list[Any]:
    """A module's class and what is told among its attributes.

    Of a class that no library has, these are values of any kind; what a guide of Pyro's notes
    for itself are none, and of a library's class plain values alone.
    """
    is_own = not is_of_library(type(module))
    kinds = _PLAIN + _COMPOSED if is_own else _PLAIN
    hidden = not is_own or isinstance(module, AutoGuide)
    told = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, kinds)
        and not (hidden and name.startswith("_"))
        and name not in _OF_ANY_MODULE
        and not (isinstance(value, Tensor) and value.requires_grad)
    }
    return [type(module), told]


def start_of(part: Any) -> str:
    """What tells the values of a model or guide from others: all parameters, and buffers."""
    return fingerprint([*values_of(part).items()])


def values_of(part: Any) -> dict[str, Tensor]:
    """The parameters and buffers of a model or guide."""
    named = dict(part.named_parameters())
    if isinstance(part, torch.nn.Module):
        named |= dict(part.named_buffers())
    return {name: tensor.detach() for name, tensor in named.items()}


@contextlib.contextmanager
def same_run(file: Checkpoint | None, batches: Batches, **parts: Any) -> Iterator[dict[str, str]]:
    """Says what tells a run's model and guide, and where they start, from others.

    Without a checkpoint, nothing is asked, but of what several processes have to agree on.
    """
    if file is None:
        yield model_identity(parts["model"]) if is_distributed() else {}
        return
    batches.check_resumable()
    starts = {part: start_of(of) for part, of in parts.items()}
    origins = {part: file.origin(part, start) for part, start in starts.items()}
    said = {f"start of the {part}": origin for part, origin in origins.items()}
    try:
        yield model_identity(parts["model"]) | said
    finally:
        for part, origin in origins.items():
            left = start_of(parts[part])
            if left != starts[part]:
                file.leave(part, origin, left)
