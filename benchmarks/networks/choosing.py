"""Data sets on which settings are chosen, and those that are reported, which take no part in it."""

from collections.abc import Callable

import numpy as np
import torch
from sklearn.datasets import make_classification

from .data import DATA, Classes

__all__ = ["CHOOSING", "REPORTED"]

_N_ROWS = 600


def _made(x: np.ndarray, y: np.ndarray) -> Classes:
    return Classes(torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y))


def _linear() -> Classes:
    """Three classes of eight features, of which four tell them apart."""
    shape = {"n_features": 8, "n_informative": 4, "n_redundant": 0, "n_classes": 3}
    options = {"n_clusters_per_class": 1, "class_sep": 1.5, "random_state": 0}
    return _made(*make_classification(_N_ROWS, **shape, **options))


def _xor() -> Classes:
    """Whether two of four features have the same sign."""
    x = np.random.default_rng(0).normal(size=(_N_ROWS, 4))
    return _made(x, (x[:, 0] * x[:, 1] > 0).astype(int))


_REAL = ("penguins", "glass", "diabetes", "sex", "colors", "patches")

CHOOSING: dict[str, Callable[[], Classes]] = {
    **{name: DATA[name] for name in _REAL},
    "linear": _linear,
    "xor": _xor,
}
"""To choose on; the last two are synthetic."""

REPORTED: dict[str, Callable[[], Classes]] = {
    name: DATA[name] for name in ("iris", "wine", "breast cancer", "digits")
}
