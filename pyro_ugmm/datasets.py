"""Small real data sets, as tensors."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["LabeledData", "iris"]


class LabeledData(NamedTuple):
    """Features of shape ``(n, K)``, integer labels of shape ``(n,)``, and the names of both."""

    x: Tensor
    y: Tensor
    feature_names: list[str]
    class_names: list[str]


def iris(dtype: torch.dtype | None = None) -> LabeledData:
    """Loads Fisher's Iris data (1936), scikit-learn's copy: 150 flowers, lengths in cm.

    Raises:
        ImportError: if scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_iris
    except ImportError as error:
        raise ImportError(
            "iris: scikit-learn holds the data; pip install 'pyro_ugmm[sklearn]'"
        ) from error
    data = load_iris()
    return LabeledData(
        torch.as_tensor(data.data, dtype=dtype or torch.get_default_dtype()),
        torch.as_tensor(data.target),
        [name.removesuffix(" (cm)") for name in data.feature_names],
        list(map(str, data.target_names)),
    )
