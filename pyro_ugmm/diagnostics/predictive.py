"""What class probabilities under many draws say: of uncertainty, and of their own calibration."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..checks import check, check_integer, check_values
from ..models.data_checks import labels_for
from ..tables import as_table

__all__ = ["Calibration", "Uncertainty", "calibration", "uncertainty"]


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """How uncertain predictions are, in nats, each of shape ``(n,)``.

    Attributes:
        total: the entropy of the posterior predictive.
        aleatoric: what would remain if the parameters were known: the draws' average entropy.
        epistemic: the rest, which more data would remove: the mutual information of label and
            parameters.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import uncertainty
        >>> parts = uncertainty(torch.tensor([[[0.5, 0.5]], [[0.5, 0.5]]]))
        >>> parts.total, parts.aleatoric, parts.epistemic
        (tensor([0.6931]), tensor([0.6931]), tensor([0.]))
    """

    total: Tensor
    aleatoric: Tensor
    epistemic: Tensor


def _checked(probabilities: Any, dims: int, shape: str) -> Tensor:
    """Checks probabilities, and returns them as a tensor."""
    values = as_table("probabilities", probabilities).values.detach()
    got = tuple(values.shape)
    check(len(got) == dims and 0 not in got, "probabilities", f"shape {shape}", got)
    check_values("probabilities", values, values >= 0, "numbers from zero to one")
    total = values.sum(-1)
    check_values("probabilities", total, (total - 1).abs() < 1e-4, "sums of one over the classes")
    return values


def _entropy(probabilities: Tensor) -> Tensor:
    return -torch.xlogy(probabilities, probabilities).sum(-1)


def uncertainty(probabilities: Any) -> Uncertainty:
    r"""Splits the uncertainty of predictions in two.

    .. math:: H\bigl[\mathbb{E}_\theta \, p(y \mid x, \theta)\bigr]
        = \mathbb{E}_\theta \, H\bigl[p(y \mid x, \theta)\bigr] + I(y; \theta \mid x)

    Source: Houlsby and others (2011), arXiv:1112.5745.

    Args:
        probabilities: of classes under draws, shape ``(S, n, C)``, as of
            :func:`class_probabilities`.

    Raises:
        ValueError: if they do not have that shape, or do not sum to one.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import uncertainty
        >>> sure_of_opposites = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
        >>> uncertainty(sure_of_opposites).epistemic
        tensor([0.6931])
    """
    probabilities = _checked(probabilities, 3, "(S, n, C)")
    total = _entropy(probabilities.mean(0))
    aleatoric = _entropy(probabilities).mean(0)
    return Uncertainty(total, aleatoric, total - aleatoric)


@dataclass(frozen=True, eq=False)
class Calibration:
    """How often predictions of some confidence are right, in bins of confidence.

    Attributes:
        error: the expected calibration error: the average distance of confidence and accuracy,
            over rows.
        confidence: the average confidence in each bin, shape ``(B,)``; NaN in empty ones.
        accuracy: the share of its rows that is right, shape ``(B,)``.
        counts: its rows, shape ``(B,)``.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import calibration
        >>> probabilities, y = torch.tensor([[0.9, 0.1], [0.3, 0.7]]), torch.tensor([0, 0])
        >>> measured = calibration(probabilities, y, n_bins=2)
        >>> measured.accuracy, measured.counts  # of those 0.8 sure, half are right
        (tensor([   nan, 0.5000], dtype=torch.float64), tensor([0, 2]))
    """

    error: float
    confidence: Tensor
    accuracy: Tensor
    counts: Tensor


def calibration(probabilities: Any, y: Any, n_bins: int = 10) -> Calibration:
    r"""Compares the confidence of predictions, the largest probability, with their accuracy.

    .. math:: \mathrm{ECE} = \sum_b \frac{n_b}{n} \,
        \bigl|\mathrm{accuracy}_b - \mathrm{confidence}_b\bigr|

    Few rows make it large by chance alone; compare models on the same rows. Source: Guo, Pleiss,
    Sun and Weinberger (2017), arXiv:1706.04599.

    Args:
        probabilities: of the posterior predictive, shape ``(n, C)``; the mean over draws.
        y: labels, shape ``(n,)``.
        n_bins: bins of equal width from zero to one.

    Raises:
        ValueError: if shapes do not fit, probabilities do not sum to one, or a label is not one
            of the classes.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import calibration
        >>> probabilities = torch.tensor([[0.8, 0.2]]).expand(10, 2)
        >>> round(calibration(probabilities, torch.zeros(10, dtype=torch.long)).error, 3)
        0.2
    """
    probabilities = _checked(probabilities, 2, "(n, C)")
    n_bins, n_classes = check_integer("n_bins", n_bins), probabilities.shape[1]
    y = labels_for(y, probabilities, n_classes, "probabilities")
    check(y.dim() == 1, "y", "shape (n,)", tuple(y.shape))
    confidence, label = probabilities.double().max(-1)
    right = (label == y).double()
    at = (confidence * n_bins).long().clamp(max=n_bins - 1)
    counts = torch.bincount(at, minlength=n_bins)
    average, accuracy = (torch.bincount(at, v, n_bins) / counts for v in (confidence, right))
    gaps = (average - accuracy).abs().nan_to_num()
    return Calibration(float((gaps * counts).sum() / len(y)), average, accuracy, counts)
