"""What is measured of class probabilities."""

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from pyro_ugmm.diagnostics import calibration

__all__ = ["MEASURES", "auc", "scored"]

MEASURES = {"accuracy": "accuracy", "log_loss": "log-loss", "error": "calibration error"}
"""What there is, with its name."""

_LEAST, _BINS = 1e-6, 10


def scored(probabilities: Tensor, y: Tensor) -> dict[str, float]:
    """Accuracy, log-loss, of probabilities of at least a millionth, and calibration error."""
    given = probabilities.gather(1, y.unsqueeze(1)).double()
    found = {
        "accuracy": float((probabilities.argmax(-1) == y).double().mean()),
        "log_loss": float(-given.clamp(min=_LEAST).log().mean()),
        "error": calibration(probabilities, y, n_bins=_BINS).error,
    }
    return {name: round(value, 5) for name, value in found.items()}


def _entropy(probabilities: Tensor) -> Tensor:
    return torch.special.entr(probabilities.double()).sum(-1)


def auc(known: Tensor, strange: Tensor) -> float:
    """How often the entropy of a strange row is above that of a known one."""
    entropy = torch.cat([_entropy(known), _entropy(strange)])
    is_strange = torch.arange(len(entropy)) >= len(known)
    return round(float(roc_auc_score(is_strange.numpy(), entropy.numpy())), 5)
