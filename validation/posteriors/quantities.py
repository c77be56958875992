"""What is compared of posteriors: numbers that do not know how components are labeled."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["of_mixture", "of_network"]

Draws = dict[str, Tensor]
_N_POINTS, _N_PAIRS = 20, 5


def _log_joint(model: Any, rows: tuple[Tensor, ...], draws: Draws) -> Draws:
    log_likelihood = model.row_terms(*rows, draws=draws).sum(-1)
    return {"log prior": model.log_prior(draws), "log likelihood": log_likelihood}


def _numbered(name: str, values: Tensor) -> Draws:
    return {f"{name} {i + 1}": value for i, value in enumerate(values.unbind(-1))}


def of_mixture(model: Any, x: Tensor) -> Callable[[Draws], Draws]:
    """The log density at points of the data, which rows go together, and what can be ordered.

    Points and pairs of rows are spread evenly over the data, ordered by their first feature;
    weights are ordered by size, the first features of means likewise.
    """
    ordered = x[x[:, 0].argsort()]
    at = torch.linspace(0, len(x) - 1, _N_POINTS).long()
    pairs = torch.linspace(0, len(x) - 1, _N_PAIRS + 1).long()

    @torch.no_grad()
    def quantities(draws: Draws) -> Draws:
        mixture = model.mixture({site: value.unsqueeze(1) for site, value in draws.items()})
        shares = mixture.responsibilities(ordered[pairs])
        together = (shares[:, 1:] * shares[:, :-1]).sum(-1)
        return {
            **_log_joint(model, (x,), draws),
            **_numbered("log density at", mixture.log_prob(ordered[at])),
            **_numbered("same component, pair", together),
            **_numbered("weight", draws["weights"].sort(-1).values),
            **_numbered("mean", draws["means"][..., 0].sort(-1).values),
        }

    return quantities


def of_network(model: Any, rows: tuple[Tensor, ...], x: Tensor) -> Callable[[Draws], Draws]:
    """The probabilities of all classes of rows ``x``."""

    @torch.no_grad()
    def quantities(draws: Draws) -> Draws:
        shares = model.class_probabilities(x, draws)
        classes = {
            name: value
            for c in range(shares.shape[-1])
            for name, value in _numbered(f"class {c} of row", shares[..., c]).items()
        }
        return {**_log_joint(model, rows, draws), **classes}

    return quantities
