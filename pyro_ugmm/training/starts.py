"""Fits from several starts: one after the other, or at once, of all as one model and guide."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import pyro
import torch
from torch import Tensor

from ..batched_parameters import batched
from ..models import BayesianModel
from ..nn.mode import training_mode
from ..optimization.result import FitResult
from ..programs.traced import Draws, Rows
from ..randomness import generator_for

__all__ = ["as_one_guide", "as_one_model", "one_after_another"]


def one_after_another(fits: Iterable[FitResult]) -> list[FitResult]:
    """Takes fits as they come, to the first interrupt."""
    done: list[FitResult] = []
    for fit in fits:
        done.append(fit)
        if fit.interrupted:
            break
    return done


def as_one_model(models: Sequence[Any], rows: Rows) -> Any:
    """Returns a model that evaluates rows under the parameters of each of these, ``(S, n)``.

    It is None where they do not evaluate them so, which is tried, with two other ones.
    """
    if not isinstance(models[0], BayesianModel):
        return None
    pair = [_moved(model, seed) for seed, model in enumerate(models[:2])]
    starts = [model.start_values() for model in pair]
    draws = {site: torch.stack([start[site] for start in starts]) for site in starts[0]}
    apart = torch.stack([_terms(*each, rows) for each in zip(pair, starts, strict=True)])
    try:
        terms = _terms(batched(pair), draws, rows)
    except (RuntimeError, TypeError, ValueError):
        return None
    is_one = terms.shape == apart.shape
    is_one = is_one and torch.allclose(terms, apart, 1e-3, 1e-3, equal_nan=True)
    return batched(models) if is_one else None


@torch.no_grad()
def _moved(model: Any, seed: int) -> Any:
    """A copy whose parameters are no longer those of another start, not even in part."""
    other = copy.deepcopy(model)
    for parameter in other.parameters():
        generator = generator_for(seed, parameter.device)
        noise = torch.empty_like(parameter).normal_(0, 0.1, generator=generator)
        parameter.add_(noise)
    return other


@torch.no_grad()
def _terms(model: Any, draws: Draws, rows: Rows) -> Tensor:
    with training_mode(model, False), pyro.validation_enabled(False):
        return model.row_terms(*rows, draws=draws)


def as_one_guide(guides: Sequence[Any]) -> Any:
    """Returns a guide with the parameters of each of these; None if they are not of one form."""
    forms = [
        (type(guide), [(name, p.shape) for name, p in guide.named_parameters()]) for guide in guides
    ]
    is_one = isinstance(guides[0], torch.nn.Module) and forms.count(forms[0]) == len(forms)
    return batched(guides) if is_one else None
