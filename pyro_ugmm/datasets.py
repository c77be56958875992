"""Real data sets, as tensors."""

import os
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from .checks import check
from .idx import read_idx

__all__ = ["LabeledData", "iris", "mnist"]


class LabeledData(NamedTuple):
    """Features of shape ``(n, K)``, integer labels of shape ``(n,)``, and the names of both.

    Example:
        >>> from pyro_ugmm.datasets import iris
        >>> data = iris()
        >>> data.x[0], data.y[0], data.feature_names[0], data.class_names[0]
        (tensor([5.1000, 3.5000, 1.4000, 0.2000]), tensor(0), 'sepal length', 'setosa')
    """

    x: Tensor
    y: Tensor
    feature_names: list[str]
    class_names: list[str]


def iris(dtype: torch.dtype | None = None) -> LabeledData:
    """Loads Fisher's Iris data (1936), scikit-learn's copy: 150 flowers, lengths in cm.

    Raises:
        ImportError: if scikit-learn is not installed.

    Example:
        >>> from pyro_ugmm.datasets import iris
        >>> x, y, feature_names, class_names = iris()
        >>> x.shape, class_names
        (torch.Size([150, 4]), ['setosa', 'versicolor', 'virginica'])
    """
    try:
        from sklearn.datasets import load_iris
    except ImportError as error:
        raise ImportError(
            "iris: scikit-learn holds the data; pip install 'pyro-ugmm[sklearn]'"
        ) from error
    data = load_iris()
    return LabeledData(
        torch.as_tensor(data.data, dtype=dtype or torch.get_default_dtype()),
        torch.as_tensor(data.target),
        [name.removesuffix(" (cm)") for name in data.feature_names],
        list(map(str, data.target_names)),
    )


_MNIST_FILES = {True: "train", False: "t10k"}
_MNIST_SOURCE = "https://ossci-datasets.s3.amazonaws.com/mnist/"


def mnist(
    folder: str | os.PathLike, *, train: bool = True, dtype: torch.dtype | None = None
) -> LabeledData:
    """Loads MNIST: 60,000 handwritten digits to learn from, or 10,000 to test, from 0 to 1.

    Args:
        folder: where its IDX files are, compressed or not; the library holds no copy.
        train: which of the two.
        dtype: of the features.

    Raises:
        FileNotFoundError: if the files are not there; the message says where to get them.
        ValueError: if a file is damaged, or images and labels do not fit each other.

    Example:
        >>> from pyro_ugmm.datasets import mnist
        >>> mnist("an/empty/folder")
        Traceback (most recent call last):
        FileNotFoundError: mnist: an/empty/folder holds no train-images-idx3-ubyte, nor ...
    """
    images, labels = (
        read_idx(_find(Path(folder), f"{_MNIST_FILES[train]}-{kind}-ubyte"))
        for kind in ("images-idx3", "labels-idx1")
    )
    check(images.dim() == 3, "images", "shape (n, height, width)", tuple(images.shape))
    check(labels.shape == images.shape[:1], "labels", f"{len(images)} labels", tuple(labels.shape))
    height, width = images.shape[1:]
    return LabeledData(
        images.flatten(1).to(dtype or torch.get_default_dtype()) / 255,
        labels.long(),
        [f"row {i}, column {j}" for i in range(height) for j in range(width)],
        [str(digit) for digit in range(10)],
    )


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.exists():
            return path
    raise FileNotFoundError(
        f"mnist: {folder} holds no {name}, nor {name}.gz; get it from {_MNIST_SOURCE}{name}.gz"
    )
