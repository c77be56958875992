"""What is measured of class probabilities on MNIST."""

from collections.abc import Callable

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from pyro_ugmm.diagnostics import calibration

from .recipe import Digits

__all__ = ["MEASURES", "measured"]

MEASURES = {
    "accuracy": "test accuracy",
    "log_loss": "log-loss",
    "calibration_error": "calibration error (15 bins)",
    "turned": "AUC, turned digits",
    "noise": "AUC, noise",
}


def _entropy(probabilities: Tensor) -> Tensor:
    return -torch.xlogy(probabilities, probabilities).sum(-1)


def measured(probabilities: Callable[[Tensor], Tensor], digits: Digits) -> dict[str, float]:
    """Measures a classifier on test images, and how its entropy tells others from them.

    Args:
        probabilities: of the classes, of images ``(n, 784)``.
        digits: the images.
    """
    known = probabilities(digits.test_x)
    right = known.argmax(-1) == digits.test_y
    log_probability = known.gather(1, digits.test_y.unsqueeze(1)).log()
    found = {
        "accuracy": float(right.double().mean()),
        "log_loss": -float(log_probability.clamp(min=-100).mean()),
        "calibration_error": calibration(known, digits.test_y, n_bins=15).error,
    }
    for name, images in (("turned", digits.turned()), ("noise", digits.noise())):
        entropy = torch.cat([_entropy(known), _entropy(probabilities(images))])
        strange = torch.arange(len(entropy)) >= len(known)
        found[name] = float(roc_auc_score(strange.numpy(), entropy.numpy()))
    return found
