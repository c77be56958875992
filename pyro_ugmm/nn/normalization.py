"""What stands between the layers of a network."""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import layer_norm

from ..checks import check_choice

__all__ = ["normalization_of"]


def _nothing(scores: Tensor) -> Tensor:
    return scores


def _standardize(scores: Tensor) -> Tensor:
    r"""Standardizes each row: :math:`(h_j - \bar h) / \sqrt{\mathrm{var}(h) + 10^{-5}}`."""
    return layer_norm(scores, scores.shape[-1:])


_CHOICES: dict[str, Callable[[Tensor], Tensor]] = {"none": _nothing, "layer": _standardize}


def normalization_of(name: str) -> Callable[[Tensor], Tensor]:
    """Returns what a normalization does with scores of shape ``B + (J,)``."""
    return _CHOICES[check_choice("normalization", name, _CHOICES)]
