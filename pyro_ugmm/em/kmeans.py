"""k-means with k-means++ seeding, on any device."""

import math

import torch
from torch import Tensor

__all__ = ["distant_rows", "kmeans", "nearest"]

_MOST_ITERATIONS = 50


def nearest(x: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """Returns each row's nearest center, ``(n,)``, and the squared distance to it."""
    n_rows = max(256, (4 << 20) // len(centers))
    squares = centers.square().sum(-1)
    labels, distances = [], []
    for rows in x.split(n_rows):
        distance, label = torch.addmm(squares, rows, centers.T, alpha=-2).min(-1)
        labels.append(label)
        distances.append((distance + rows.square().sum(-1)).clamp_(min=0))
    return torch.cat(labels), torch.cat(distances)


def distant_rows(
    x: Tensor, weight: Tensor, count: int, generator: torch.Generator | None
) -> Tensor:
    """Returns the indices of rows far from each other, ``(count,)``, by greedy k-means++.

    Source: Arthur and Vassilvitskii (2007), *k-means++: the advantages of careful seeding*; the
    best of a few candidates is taken each time, as in scikit-learn.
    """
    n_trials = 2 + int(math.log(count))
    chosen = [torch.multinomial(weight, 1, generator=generator)[0]]
    closest = (x - x[chosen[0]]).square().sum(-1)
    for _ in range(1, count):
        chance = closest * weight
        if not chance.sum() > 0:  # fewer distinct rows than centers
            chance = weight
        trials = torch.multinomial(chance, n_trials, replacement=True, generator=generator)
        distances = torch.cdist(x[trials], x).square_()
        candidates = torch.minimum(distances, closest)
        best = (candidates @ weight).argmin()
        closest = candidates[best]
        chosen.append(trials[best])
    return torch.stack(chosen)


def kmeans(
    x: Tensor, weight: Tensor, count: int, generator: torch.Generator | None = None
) -> Tensor:
    """Returns the labels, ``(n,)``, of rows ``(n, D)`` with weights ``(n,)`` in ``count`` clusters.

    A cluster that loses its rows takes the row farthest from its center.
    """
    centers = x[distant_rows(x, weight, count, generator)]
    labels, distances = nearest(x, centers)
    for _ in range(_MOST_ITERATIONS):
        mass = x.new_zeros(count).index_add_(0, labels, weight)
        sums = torch.zeros_like(centers).index_add_(0, labels, x * weight.unsqueeze(-1))
        centers = sums / mass.clamp(min=torch.finfo(x.dtype).tiny).unsqueeze(-1)
        empty = (mass == 0).nonzero()[:, 0]
        farthest = (distances * weight).topk(min(len(empty), len(x))).indices
        centers[empty[: len(farthest)]] = x[farthest]
        before = labels
        labels, distances = nearest(x, centers)
        if torch.equal(labels, before):
            break
    return labels
