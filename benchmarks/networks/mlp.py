"""Multilayer perceptrons with one hidden layer, several trained at once."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, dropout

from pyro_ugmm.optimization.schedule import Schedule

from .data import Classes

__all__ = ["Perceptrons", "hidden_units"]

_RATE = 0.01


def hidden_units(n_features: int, n_classes: int, hidden: int) -> int:
    """As many as give an MLP the parameters of a network with so many hidden neurons."""
    n_parameters = 3 * hidden * (n_features + n_classes)
    return max(1, round((n_parameters - n_classes) / (n_features + n_classes + 1)))


@dataclass
class Perceptrons:
    """MLPs of rectified linear units, each on its own batches.

    Args:
        count: how many.
        n_units: the hidden units of each.
        dropout: the share of hidden units dropped.
    """

    count: int
    n_units: int
    dropout: float = 0.0

    def fit(self, rows: Classes, steps: int, batch_size: int, seed: int) -> "Perceptrons":
        """Takes steps of AdamW with torch's weight decay, at the rates of ``fit_mle``."""
        torch.manual_seed(seed)
        n_inputs, n_classes = rows.x.shape[1], rows.n_classes
        shapes = (n_inputs, self.n_units), (self.n_units, n_classes)
        self._parameters = [
            torch.empty(self.count, *shape).uniform_(-1, 1).div(shape[0] ** 0.5).requires_grad_()
            for shape in (*shapes, (1, self.n_units), (1, n_classes))
        ]
        optimizer = torch.optim.AdamW(self._parameters, lr=_RATE)
        schedule, size = Schedule(steps, _RATE), min(batch_size, len(rows.y))
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = schedule.rate(step)
            index = torch.rand(self.count, len(rows.y)).topk(size).indices
            scores = self._scores(rows.x[index])
            loss = cross_entropy(scores.flatten(0, 1), rows.y[index].flatten()) * self.count
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return self

    def _scores(self, x: Tensor) -> Tensor:
        inner, outer, inner_bias, outer_bias = self._parameters
        units = dropout((x @ inner + inner_bias).relu(), self.dropout)
        return units @ outer + outer_bias

    @torch.no_grad()
    def __call__(self, x: Tensor, draws: int = 1) -> Tensor:
        """The average class probabilities of all, under so many draws of dropout."""
        drawn = torch.stack([self._scores(x).softmax(-1) for _ in range(draws)])
        return drawn.mean((0, 1))
