"""Tables that packages ship, with a continuous target, and their splits."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor

from pyro_ugmm.standardization import center_and_spread

from ..density_estimation.data import VARIANTS

__all__ = ["DATA", "Split", "split"]

HELD_OUT = 0.2
_N_DRAWN = 1_500


class Split(NamedTuple):
    """Rows to learn from and rows left out, all in units of the former."""

    x: Tensor
    y: Tensor
    x_held_out: Tensor
    y_held_out: Tensor


def split(x: Tensor, y: Tensor, seed: int) -> Split:
    """Leaves a fifth of the rows out, and standardizes features and target by the others."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    held_out, train = order.tensor_split([round(HELD_OUT * len(x))])
    rows = torch.cat([x, y.unsqueeze(-1)], -1)
    center, spread = center_and_spread(rows[train])
    rows = ((rows - center) / spread).float()
    return Split(rows[train, :-1], rows[train, -1], rows[held_out, :-1], rows[held_out, -1])


def _columns(name: str, target: str, features: list[str] | None = None) -> tuple[Tensor, Tensor]:
    """One column of a table, from others; by default from all others."""
    table = getattr(datasets, f"load_{name}")()
    names = [*table.feature_names]
    features = features or [one for one in names if one != target]
    x = torch.as_tensor(table.data[:, [names.index(one) for one in features]])
    return x, torch.as_tensor(table.data[:, names.index(target)])


def _diabetes() -> tuple[Tensor, Tensor]:
    table = datasets.load_diabetes()
    return torch.as_tensor(table.data), torch.as_tensor(table.target)


def _areas() -> tuple[Tensor, Tensor]:
    """The area of cell nuclei from their texture and shape, without other measures of size."""
    words = ("texture", "smoothness", "compactness", "symmetry", "fractal dimension")
    return _columns("breast_cancer", "mean area", [f"mean {word}" for word in words])


def _gray_values() -> tuple[Tensor, Tensor]:
    """A pixel from its eight neighbors, at some places of a photograph."""
    gray = datasets.load_sample_image("china.jpg").mean(-1)
    windows = np.lib.stride_tricks.sliding_window_view(gray, (3, 3)).reshape(-1, 9)
    at = np.random.default_rng(0).choice(len(windows), _N_DRAWN, replace=False)
    windows = torch.as_tensor(windows[at])
    return torch.cat([windows[:, :4], windows[:, 5:]], -1), windows[:, 4]


def _colors() -> tuple[Tensor, Tensor]:
    """Blue from red and green, at some places of a photograph."""
    pixels = datasets.load_sample_image("flower.jpg").reshape(-1, 3)
    at = np.random.default_rng(0).choice(len(pixels), _N_DRAWN, replace=False)
    rows = torch.as_tensor(pixels[at], dtype=torch.float64)
    return rows[:, :2], rows[:, 2]


def _dequantized(load: Callable[[], tuple[Tensor, Tensor]]) -> Callable[[], tuple[Tensor, Tensor]]:
    """The same, with noise on targets, as wide as their least step, so that none are tied."""

    def loaded() -> tuple[Tensor, Tensor]:
        x, y = load()
        return x, VARIANTS["dequantized"](y.unsqueeze(-1)).squeeze(-1)

    return loaded


DATA: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
    name: _dequantized(load)
    for name, load in {
        "iris, petal width": lambda: _columns("iris", "petal width (cm)"),
        "wine, alcohol": lambda: _columns("wine", "alcohol"),
        "diabetes": _diabetes,
        "breast cancer, area": _areas,
        "colors, blue": _colors,
        "gray values": _gray_values,
    }.items()
}
"""Features and targets of each."""
