"""k-means with k-means++ seeding, on any device."""

import math

import torch
from torch import Tensor

from ..native import library
from .kmeans_call import cluster_natively

__all__ = [
    "cluster",
    "cluster_by_torch",
    "distant_rows",
    "kmeans",
    "nearest",
    "numbers_for",
    "spread_labels",
]

_MOST_ITERATIONS = 50
_WIDEST = 400  # entries of the centers, from which on matrix products pay


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


def _drawn(chance: Tensor, uniform: Tensor) -> Tensor:
    """Returns the rows up to which chances ``(n,)`` sum to shares of their total."""
    sums = chance.cumsum(0, dtype=torch.promote_types(chance.dtype, uniform.dtype))
    at = torch.searchsorted(sums, uniform.to(sums) * sums[-1], right=True)
    return at.clamp(max=int(chance.nonzero()[-1]))


def numbers_for(like: Tensor, count: int, n_init: int, generator: torch.Generator | None) -> Tensor:
    """Draws what chooses rows far from each other, ``(n_init, count, n_trials)``."""
    shape = n_init, count, 2 + int(math.log(count))
    uniform = torch.rand(shape, generator=generator, device=like.device, dtype=torch.float32)
    return uniform.double() if like.is_cpu else uniform


def distant_rows(
    x: Tensor, weight: Tensor, uniform: Tensor, beside: Tensor | None = None
) -> Tensor:
    """Returns the indices of rows far from each other, ``(count,)``, by greedy k-means++; and from
    centers ``(C, D)``, if there are some already.

    Source: Arthur and Vassilvitskii (2007), *k-means++: the advantages of careful seeding*; the
    best of a few candidates is taken each time, as in scikit-learn.
    """
    if beside is None:
        chosen, uniform = [_drawn(weight, uniform[0, :1])[0]], uniform[1:]
        beside = x[chosen[0]].unsqueeze(0)
    else:
        chosen = []
    closest = nearest(x, beside)[1]
    for numbers in uniform:
        chance = closest * weight
        if not chance.sum() > 0:  # fewer distinct rows than centers
            chance = weight
        trials = _drawn(chance, numbers)
        distances = torch.cdist(x[trials], x).square_()
        candidates = torch.minimum(distances, closest)
        best = (candidates @ weight).argmin()
        closest = candidates[best]
        chosen.append(trials[best])
    return torch.stack(chosen)


def spread_labels(x: Tensor, weight: Tensor, labels: Tensor, uniform: Tensor) -> Tensor:
    """Gives rows that have none, -1, the label whose rows have the nearest mean.

    Labels that no row has are of rows far from these means, chosen by ``uniform``, ``(K, n)``.
    """
    count, is_known = len(uniform), labels >= 0
    mass = x.new_zeros(count).index_add_(0, labels[is_known], weight[is_known])
    weighted = (x * weight.unsqueeze(-1))[is_known]
    centers = x.new_zeros(count, x.shape[1]).index_add_(0, labels[is_known], weighted)
    has_rows = mass > 0
    centers = centers / mass.clamp(min=torch.finfo(x.dtype).tiny).unsqueeze(-1)
    if not has_rows.all():
        beside = centers[has_rows] if has_rows.any() else None
        centers[~has_rows] = x[distant_rows(x, weight, uniform[~has_rows], beside)]
    return torch.where(is_known, labels, nearest(x, centers)[0])


def cluster_by_torch(x: Tensor, weight: Tensor, uniform: Tensor) -> Tensor:
    """Returns labels ``(n,)``, given the numbers ``(K, n_trials)`` that choose the seeds."""
    centers = x[distant_rows(x, weight, uniform)]
    labels, distances = nearest(x, centers)
    for _ in range(_MOST_ITERATIONS):
        mass = x.new_zeros(len(centers)).index_add_(0, labels, weight)
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


def cluster(x: Tensor, weight: Tensor, uniform: Tensor) -> Tensor:
    """Returns labels ``(S, n)``, given numbers ``(S, K, n_trials)``: by the library in C, where
    there is one and centers are few or narrow, or else by torch, in the same way.
    """
    is_narrow = uniform.shape[1] * x.shape[1] <= _WIDEST
    if not is_narrow or not x.is_cpu or library()[0] is None:
        return torch.stack([cluster_by_torch(x, weight, numbers) for numbers in uniform])
    offset = torch.zeros(len(uniform), dtype=torch.int64, device=x.device)
    n_rows = torch.full_like(offset, len(x))
    n_threads = min(len(uniform), torch.get_num_threads())
    labels = cluster_natively(x, weight, offset, n_rows, uniform, _MOST_ITERATIONS, n_threads)
    return labels.view(len(uniform), -1)


def kmeans(
    x: Tensor, weight: Tensor, count: int, generator: torch.Generator | None = None, n_init: int = 1
) -> Tensor:
    """Clusters rows ``(n, D)`` with weights ``(n,)`` in ``count`` clusters, ``n_init`` times.

    A cluster that loses its rows takes the row farthest from its center. Returns the labels,
    ``(n_init, n)``.
    """
    return cluster(x, weight, numbers_for(x, count, n_init, generator))
