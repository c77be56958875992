"""Real data sets that packages ship, and their splits."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor

from pyro_ugmm.datasets import mnist
from pyro_ugmm.standardization import center_and_spread

__all__ = ["DATA", "VARIANTS", "Split", "mnist_rows", "split"]

HELD_OUT = 0.2
_N_DRAWN = 1_500
_MNIST_ROWS = 5_000
_PATCH = 5
_LEAST_STEP = 1e-6  # of a range: closer values differ by rounding errors of arithmetic


@dataclass(frozen=True)
class Split:
    """Rows to learn from and rows left out, in the units of the former.

    Attributes:
        train: shape ``(n, D)``.
        held_out: shape ``(m, D)``.
        n_dropped: columns left out because they are constant in the training part.
    """

    train: Tensor
    held_out: Tensor
    n_dropped: int


def split(x: Tensor, seed: int) -> Split:
    """Leaves a fifth of the rows out, and standardizes all by the others."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(x), generator=generator)
    n_held_out = round(HELD_OUT * len(x))
    held_out, train = x[order[:n_held_out]], x[order[n_held_out:]]
    varies = train.amax(0) > train.amin(0)
    train, held_out = train[:, varies], held_out[:, varies]
    center, spread = center_and_spread(train)
    n_dropped = int((~varies).sum())
    return Split((train - center) / spread, (held_out - center) / spread, n_dropped)


def dequantized(x: Tensor) -> Tensor:
    """Adds uniform noise as wide as the least step between a column's values.

    Values that were rounded, or counted, have a density then, and no ties (Theis, van den Oord and
    Bethge 2016, *A note on the evaluation of generative models*).
    """
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype) - 0.5
    return x + noise * torch.stack([_step(column) for column in x.T])


def _step(column: Tensor) -> Tensor:
    gaps = column.unique().diff()
    gaps = gaps[gaps > _LEAST_STEP * (column.max() - column.min())]
    return gaps.min() if len(gaps) else column.new_zeros(())


def mnist_rows(folder: Path) -> Tensor:
    """The pixels of some images."""
    return mnist(folder, dtype=torch.float64).x[:_MNIST_ROWS]


def _table(name: str) -> Tensor:
    return torch.as_tensor(getattr(datasets, f"load_{name}")().data, dtype=torch.float64)


def _colors() -> Tensor:
    """Red, green and blue at some places of a photograph."""
    pixels = datasets.load_sample_image("flower.jpg").reshape(-1, 3)
    at = np.random.default_rng(0).choice(len(pixels), _N_DRAWN, replace=False)
    return torch.as_tensor(pixels[at], dtype=torch.float64)


def _patches() -> Tensor:
    """Squares of gray values at some places of a photograph."""
    gray = datasets.load_sample_image("china.jpg").mean(-1)
    windows = np.lib.stride_tricks.sliding_window_view(gray, (_PATCH, _PATCH))
    windows = windows.reshape(-1, _PATCH**2)
    at = np.random.default_rng(0).choice(len(windows), _N_DRAWN, replace=False)
    return torch.as_tensor(windows[at], dtype=torch.float64)


DATA: dict[str, Callable[[], Tensor]] = {
    **{name: partial(_table, name) for name in ("iris", "wine", "diabetes", "breast_cancer")},
    "colors": _colors,
    "patches": _patches,
    "digits": partial(_table, "digits"),
}
"""The rows of each, without labels; two are of photographs."""

VARIANTS: dict[str, Callable[[Tensor], Tensor]] = {
    "shipped": lambda x: x,
    "dequantized": dequantized,
}
"""What is done to rows before they are split."""
