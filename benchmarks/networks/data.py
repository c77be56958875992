"""Real data sets with classes, which packages ship, and their splits."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from sklearn import datasets
from sklearn.model_selection import train_test_split
from torch import Tensor

from pyro_ugmm.datasets import mnist
from pyro_ugmm.standardization import center_and_spread

__all__ = ["DATA", "Classes", "Split", "Units", "load_mnist", "patch_rows", "split"]

HELD_OUT = 0.25
_PATCH = 5
_N_DRAWN = 1_000
_MNIST_ROWS = 3_000
_PHOTOGRAPHS = ("china.jpg", "flower.jpg")
_ARFF = "sklearn.datasets.tests.data.openml"


@dataclass(frozen=True)
class Classes:
    """Rows, shape ``(n, K)``, and their classes, shape ``(n,)``.

    Attributes:
        side: that of square images, whose pixels the rows are; None for tables.
    """

    x: Tensor
    y: Tensor
    side: int | None = None

    @property
    def n_classes(self) -> int:
        """The number of classes."""
        return int(self.y.max()) + 1

    def taken(self, index: Tensor) -> "Classes":
        """Some of the rows."""
        return Classes(self.x[index], self.y[index], self.side)


@dataclass(frozen=True)
class Units:
    """The units of training rows: of each column, or of all pixels of images together."""

    center: Tensor
    spread: Tensor

    @classmethod
    def of(cls, train: Classes) -> "Units":
        """Takes them from training rows."""
        if train.side is None:
            return cls(*center_and_spread(train.x))
        return cls(train.x.mean(), train.x.std())

    def standardized(self, x: Tensor) -> Tensor:
        """Rows in these units."""
        return (x - self.center) / self.spread


@dataclass(frozen=True)
class Split:
    """Rows to learn from and rows left out, as they are shipped, and the units of the former."""

    train: Classes
    test: Classes
    units: Units

    @property
    def known(self) -> Classes:
        """Those to learn from, standardized."""
        return Classes(self.units.standardized(self.train.x), self.train.y, self.train.side)


def split(rows: Classes, seed: int) -> Split:
    """Leaves a quarter of each class out."""
    train, test = train_test_split(
        np.arange(len(rows.y)), test_size=HELD_OUT, random_state=seed, stratify=rows.y.numpy()
    )
    known = rows.taken(torch.as_tensor(train))
    return Split(known, rows.taken(torch.as_tensor(test)), Units.of(known))


def _labeled(x: np.ndarray, y: np.ndarray, side: int | None = None) -> Classes:
    codes = np.unique(y, return_inverse=True)[1]
    return Classes(torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(codes), side)


def _shipped(name: str, side: int | None = None) -> Classes:
    return _labeled(*getattr(datasets, f"load_{name}")(return_X_y=True), side)


def _arff(folder: str, label: str, columns: list[str] | None = None) -> Classes:
    """A data set among scikit-learn's tests; rows with a missing entry are left out."""
    from scipy.io.arff import loadarff

    (file,) = (one for one in (files(_ARFF) / folder).iterdir() if one.name.startswith("data"))
    rows, _ = loadarff(StringIO(gzip.decompress(file.read_bytes()).decode()))
    x = np.stack([rows[name] for name in columns or rows.dtype.names if name != label], 1)
    seen = np.isfinite(x.astype(float)).all(1)
    return _labeled(x.astype(float)[seen], rows[label][seen])


def _progression() -> Classes:
    """Whether diabetes progressed by more than the median."""
    x, target = datasets.load_diabetes(return_X_y=True)
    return _labeled(x, target > np.median(target))


def _sex() -> Classes:
    """The sex of the patients, given the other columns."""
    x, _ = datasets.load_diabetes(return_X_y=True)
    return _labeled(np.delete(x, 1, axis=1), x[:, 1] > 0)


def _colors() -> Classes:
    """Of which of two photographs a pixel is, given red, green and blue."""
    drawn = []
    for name in _PHOTOGRAPHS:
        pixels = datasets.load_sample_image(name).reshape(-1, 3)
        at = np.random.default_rng(0).choice(len(pixels), _N_DRAWN, replace=False)
        drawn.append(pixels[at])
    return _labeled(np.concatenate(drawn), np.repeat([0, 1], _N_DRAWN))


def patch_rows(name: str, side: int, count: int) -> Tensor:
    """Squares of gray values at some places of a photograph."""
    gray = datasets.load_sample_image(name).mean(-1)
    windows = np.lib.stride_tricks.sliding_window_view(gray, (side, side))
    at = np.random.default_rng(0).choice(windows.shape[0] * windows.shape[1], count, replace=False)
    chosen = windows[np.unravel_index(at, windows.shape[:2])]
    return torch.as_tensor(chosen.reshape(count, side**2), dtype=torch.float32)


def _patches() -> Classes:
    """Of which of two photographs a square of gray values is, each less its mean."""
    x = torch.cat([patch_rows(name, _PATCH, _N_DRAWN) for name in _PHOTOGRAPHS])
    return Classes(x - x.mean(1, keepdim=True), torch.arange(2).repeat_interleave(_N_DRAWN))


def load_mnist(folder: Path) -> Classes:
    """Some images."""
    x, y, *_ = mnist(folder)
    return Classes(x[:_MNIST_ROWS], y[:_MNIST_ROWS], 28)


_BODY = ["culmen_length_mm", "culmen_depth_mm", "flipper_length_mm", "body_mass_g"]

DATA: dict[str, Callable[[], Classes]] = {
    "iris": partial(_shipped, "iris"),
    "wine": partial(_shipped, "wine"),
    "breast cancer": partial(_shipped, "breast_cancer"),
    "digits": partial(_shipped, "digits", 8),
    "penguins": partial(_arff, "id_42585", "species", _BODY),
    "glass": partial(_arff, "id_40675", "class"),
    "diabetes": _progression,
    "sex": _sex,
    "colors": _colors,
    "patches": _patches,
}
"""All come with scikit-learn; penguins and glass with its tests."""
