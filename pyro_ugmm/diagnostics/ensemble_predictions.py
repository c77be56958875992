"""What held-out rows say of an ensemble."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..checks import check, check_integer
from ..ensemble import Ensemble
from ..models.label_model import LabelModel
from ..nn.mode import training_mode
from ..optimization.result import FitResult
from ..precision import full_precision
from ..programs.entry import enter_observed
from ..programs.joint import joint_of
from ..programs.traced import Rows
from .answers import Answers
from .draws import evaluation, posterior_draws
from .predictive import calibration
from .probabilities import fit_probabilities

__all__ = ["EnsemblePredictions", "judge_ensemble"]


@dataclass(frozen=True, eq=False)
class EnsemblePredictions:
    """How an ensemble predicts held-out rows, beside the fit of its first start.

    Attributes:
        log_score: the average log predictive density of a row.
        log_scores: that of each fit, shape ``(K,)``; NaN of those without weight.
        gain: by how much the ensemble's is higher than that of the first fit that counts.
        gain_error: the standard error of that, over rows.
        calibration_error: of class probabilities, in ten bins; NaN of other models.
        agreement: how often the most probable classes of two fits are the same; NaN of other
            models.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import EnsemblePredictions
        >>> EnsemblePredictions(-0.2, torch.tensor([-0.3, -0.25]), 0.1, 0.02, 0.05, 0.9).reason
        'the ensemble predicts better: +0.1 nats a row (standard error 0.02) ... 90% of the rows'
    """

    log_score: float
    log_scores: Tensor
    gain: float
    gain_error: float
    calibration_error: float
    agreement: float

    @property
    def reason(self) -> str:
        """The verdict, in words."""
        better = "better" if self.gain > 0 else "worse"
        if not abs(self.gain) > 2 * self.gain_error:
            better = "as well, as far as these rows tell"
        said = (
            f"{better}: {self.gain:+.3g} nats a row (standard error {self.gain_error:.2g}) beside "
            f"the first start"
        )
        if math.isnan(self.agreement):
            return f"the ensemble predicts {said}"
        return (
            f"the ensemble predicts {said}; calibration error {self.calibration_error:.2g}; two "
            f"starts agree on the class of {self.agreement:.0%} of the rows"
        )


def _row_scores(fit: FitResult, rows: Rows, num_samples: int) -> Tensor:
    """Each row's log predictive density by one fit."""
    with training_mode(fit.model, False):
        if fit.guide is None:
            return joint_of(fit.model, rows).row_terms(*rows).cpu().double()
        draws = posterior_draws(fit.model, fit.guide, num_samples, rows).values
        terms = torch.from_numpy(Answers(fit.model, rows).row_terms(draws)).double()
        return terms.logsumexp(0) - math.log(len(terms))


def _agreement(classes: Tensor) -> float:
    """How often two of ``K`` have the same class, ``(K, n)``."""
    count = len(classes)
    if count < 2:
        return math.nan
    same = (classes.unsqueeze(0) == classes.unsqueeze(1)).double().mean(-1)
    return float((same.sum() - count) / (count * (count - 1)))


@full_precision
def judge_ensemble(
    ensemble: Ensemble, x: Any, y: Any = None, num_samples: int = 200, *, seed: int | None = None
) -> EnsemblePredictions:
    r"""Judges an ensemble by its predictions of rows that it was not fitted to.

    .. math:: \log \sum_k w_k \, \mathbb{E}_{q_k} \, p(y_i \mid x_i, \theta)

    is a row's score. Where a network is too large to be sampled, its guides' intervals have no
    verdict; their predictions have this one.

    Args:
        ensemble: what ``fit_mle`` or ``fit_svi`` returned of several starts.
        x: held-out features, or rows of a mixture, shape ``(n, K)``.
        y: their labels or targets, for a model that takes them.
        num_samples: the number of draws from each guide.
        seed: for the draws; torch's generator is used, and left alone if given.

    Raises:
        ValueError: if it is no ensemble, all its starts broke down, the model has no likelihood,
            or the rows do not fit it.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import judge_ensemble
        >>> from pyro_ugmm.models import UGMMClassifier
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> from pyro_ugmm.training import fit_mle
        >>> x, model = torch.randn(60, 2), UGMMClassifier(UGMMNetwork([2, 4, 2]))
        >>> y = (x[:, 0] > 0).long()
        >>> options = {"steps": 50, "num_starts": 3, "seed": 0, "progress": False}
        >>> ensemble = fit_mle(model, x[:40], y[:40], **options)
        >>> said = judge_ensemble(ensemble, x[40:], y[40:])
        >>> said.log_scores.shape, said.reason
        (torch.Size([3]), '... nats a row ...')
    """
    is_one = isinstance(ensemble, Ensemble)
    check(is_one, "ensemble", "an Ensemble, of several starts", type(ensemble).__name__)
    num_samples, model = check_integer("num_samples", num_samples), ensemble.model
    rows = enter_observed(model, x, y, "labels or targets, with x")
    check(joint_of(model, rows).has_likelihood, "model", "one with a likelihood", "a score")
    counted = ensemble.weights.nonzero().flatten().tolist()
    check(counted, "ensemble", "a start that did not break down", ensemble.reason)
    fits, weights = [ensemble.fits[i] for i in counted], ensemble.weights[counted].double()
    with evaluation(model, seed):
        scores = torch.stack([_row_scores(fit, rows, num_samples) for fit in fits])
        error, agreement = math.nan, math.nan
        if isinstance(model, LabelModel):
            draws = [fit_probabilities(fit, rows[0], num_samples).mean(0) for fit in fits]
            known = torch.stack(draws).double()
            mean = (weights.reshape(-1, 1, 1) * known).sum(0)
            error = calibration(mean, rows[-1].cpu(), n_bins=10).error
            agreement = _agreement(known.argmax(-1))
    mixed = (scores + weights.log().unsqueeze(-1)).logsumexp(0)
    gain = mixed - scores[0]
    each = torch.full((len(ensemble.fits),), math.nan, dtype=torch.float64)
    each[counted] = scores.mean(-1)
    return EnsemblePredictions(
        log_score=float(mixed.mean()),
        log_scores=each,
        gain=float(gain.mean()),
        gain_error=float(gain.std() / math.sqrt(len(gain))),
        calibration_error=error,
        agreement=agreement,
    )
