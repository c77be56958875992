"""What is known of rows beside their values: their component, the error of measurement, and what
else than a component they may be of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..checks import check, check_values
from ..distributions import GaussianMixture
from ..distributions.noise import checked_noise
from ..fingerprints import fingerprint
from ..tables import as_labels
from .background import Background

__all__ = ["KnownRows", "checked_labels", "likely_labels"]


@dataclass(frozen=True, eq=False)
class KnownRows:
    """What is known of rows.

    Attributes:
        labels: the component of each, ``(n,)``, or -1 where it is not known; or the logarithms of
            components' plausibilities, ``(n, K)``.
        noise: the variances of their errors, ``(n, D)``, or the covariances, ``(n, D, D)``.
        background: what else than a component they may be of.
    """

    labels: Tensor | None = None
    noise: Tensor | None = None
    background: Background | None = None

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
            labels = as_labels("labels", labels)
            if labels.dim() == 2:
                plausible = _checked_plausibilities(labels, n_rows, start.n_components)
                labels = plausible.to(start.means).log()
            else:
                labels = checked_labels(labels, n_rows, start.n_components).to(start.means.device)
        if labels is not None and labels.dim() == 1:
            is_possible = (start.weights > 0).view(-1, start.n_components).all(0)
            expected = "components of positive weight, as start has them"
            check_values(
                "labels", labels, is_possible[labels.clamp(min=0)] | (labels < 0), expected
            )
        if noise is not None:
            noise = checked_noise(noise, (n_rows, start.n_features), start.means)
        return cls(labels, noise)

    def __bool__(self) -> bool:
        return any(part is not None for part in vars(self).values())

    def some(self, at: Any) -> KnownRows:
        """What is known of some of the rows, which a slice or mask says."""
        if not self:
            return self
        return type(self)(
            labels=None if self.labels is None else self.labels[at],
            noise=None if self.noise is None else self.noise[at],
            background=None if self.background is None else self.background.some(at),
        )

    def fingerprint(self) -> str:
        """What tells it from other knowledge."""
        density = None if self.background is None else self.background.log_density
        return fingerprint(self.labels, self.noise, density)

    def beside(self, background: Background) -> KnownRows:
        """What is known where there is a background, of which no row is of which more is known."""
        if self.labels is not None:
            is_known = self.labels >= 0 if self.labels.dim() == 1 else (self.labels < 0).any(-1)
            density = background.log_density.masked_fill(is_known, -torch.inf)
            background = replace(background, log_density=density)
        return replace(self, background=background)

    def share_out(self, log_joint: Tensor, n_components: int) -> None:
        """Leaves joint log densities ``(S K, B)`` of rows that are known to their component, in
        place.
        """
        if self.labels is None:
            return
        if self.labels.dim() == 2:
            log_joint.view(-1, *self.labels.T.shape).add_(self.labels.T)
            return
        component = torch.arange(n_components, device=self.labels.device).unsqueeze(-1)
        others = (self.labels >= 0) & (self.labels != component)
        log_joint.view(-1, *others.shape).masked_fill_(others, -torch.inf)


def likely_labels(labels: Any, n_rows: int, n_components: int) -> Tensor:
    """Takes labels of so many rows, or plausibilities, of which it returns the most plausible
    component where there is one.
    """
    values = as_labels("labels", labels)
    if values.dim() != 2:
        return checked_labels(values, n_rows, n_components)
    plausible = _checked_plausibilities(values, n_rows, n_components)
    best = plausible == plausible.amax(-1, keepdim=True)
    return torch.where(best.sum(-1) == 1, best.long().argmax(-1), -1)


def _checked_plausibilities(values: Tensor, n_rows: int, n_components: int) -> Tensor:
    shape, expected = tuple(values.shape), (n_rows, n_components)
    check(shape == expected, "labels", f"plausibilities of shape {expected}", f"shape {shape}")
    expected_values = "plausibilities from 0 to 1"
    check_values("labels", values, (values >= 0) & (values <= 1), expected_values)
    best = values.amax(-1)
    check_values("labels", best, best > 0, "a component that is plausible for each row, at most")
    return values


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
