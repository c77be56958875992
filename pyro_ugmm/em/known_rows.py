"""What is known of rows beside their values: their component, and the error of measurement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..checks import check, check_values
from ..distributions import GaussianMixture
from ..distributions.noise import checked_noise
from ..tables import as_labels

__all__ = ["KnownRows", "checked_labels"]


@dataclass(frozen=True, eq=False)
class KnownRows:
    """What is known of rows.

    Attributes:
        labels: the component of each, ``(n,)``, or -1 where it is not known.
        noise: the variances of their errors, ``(n, D)``, or the covariances, ``(n, D, D)``.
    """

    labels: Tensor | None = None
    noise: Tensor | None = None

    @classmethod
    def of(cls, labels: Any, noise: Any, start: GaussianMixture, n_rows: int | None) -> KnownRows:
        """Takes what was given for so many rows; a stream has no number.

        Raises:
            ValueError: if shapes do not fit the rows, a label is no component, or noise is not
                positive semi-definite.
        """
        if labels is None and noise is None:
            return cls()
        name = "labels" if labels is not None else "noise"
        expected = "rows that are all at hand, as a tensor, an array or a memory map"
        check(n_rows is not None, "x", f"{expected}, for {name}", "a stream")
        assert n_rows is not None
        if labels is not None:
            labels = checked_labels(labels, n_rows, start.n_components).to(start.means.device)
            is_possible = (start.weights > 0).view(-1, start.n_components).all(0)
            expected = "components of positive weight, as start has them"
            check_values(
                "labels", labels, is_possible[labels.clamp(min=0)] | (labels < 0), expected
            )
        if noise is not None:
            noise = checked_noise(noise, (n_rows, start.n_features), start.means)
        return cls(labels, noise)

    def __bool__(self) -> bool:
        return self.labels is not None or self.noise is not None

    def some(self, at: Any) -> KnownRows:
        """What is known of some of the rows, which a slice or mask says."""
        parts = (None if part is None else part[at] for part in (self.labels, self.noise))
        return type(self)(*parts) if self else self

    def share_out(self, log_joint: Tensor, n_components: int) -> None:
        """Leaves joint log densities ``(S K, B)`` of rows that are known to their component, in
        place.
        """
        if self.labels is None:
            return
        component = torch.arange(n_components, device=self.labels.device).unsqueeze(-1)
        others = (self.labels >= 0) & (self.labels != component)
        log_joint.view(-1, *others.shape).masked_fill_(others, -torch.inf)


def checked_labels(labels: Any, n_rows: int, n_components: int, name: str = "labels") -> Tensor:
    """Takes the components of so many rows, and -1 where they are not known.

    Raises:
        ValueError: if they are none, or of another shape.
    """
    labels = as_labels(name, labels)
    shape = tuple(labels.shape)
    check(shape == (n_rows,), name, f"shape ({n_rows},), as x has rows", f"shape {shape}")
    is_whole = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    expected = f"integers from 0 to {n_components - 1}, and -1 where it is not known"
    check(is_whole, name, expected, labels.dtype)
    check_values(name, labels, (labels >= -1) & (labels < n_components), expected)
    return labels.long()
