"""Several fits of one model, from several starts, as one answer."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pyro import poutine
from pyro.infer.autoguide import AutoContinuous, AutoNormal
from torch import Tensor

from .checks import check
from .guides.factory import factory_of
from .guides.mixture import MixtureGuide
from .nn.mode import training_mode
from .optimization.result import FitResult
from .optimization.stacking import leave_one_out_scores, stacking_weights
from .programs.draws import repeated
from .programs.joint import joint_of
from .programs.parameters import FunctionWithParameters
from .programs.sites import LatentSites, sites_of
from .programs.starts import draw_start
from .programs.traced import Rows
from .status import Status

__all__ = ["Ensemble", "ensemble_of", "model_starts", "svi_starts"]

_NUM_DRAWS = 100


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Ensemble(FitResult):
    """Fits from several starts, and how much each counts.

    ``class_probabilities``, ``to_inference_data`` and what else takes a guide take it too.

    Attributes:
        fits: of each start, the first being that of the model as it was given.
        weights: shape ``(K,)``: by stacking, if guides were fitted; else alike. A start that broke
            down has none.
        losses: those of the fit that counts most.
        status: how they ended: the worst status among those that count.
        reason: whether starts were fitted at once or one after the other, which of them broke down,
            and how far the others differ, in words.
        guide: the mixture of the guides, a :class:`pyro_ugmm.guides.MixtureGuide` of the model;
            None if what has no prior was learned anew from each start, so that there is no one
            model, or the guides have no density in common coordinates.
        model: the model as it was given, fitted from its own start.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import UGMMClassifier
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> from pyro_ugmm.training import fit_mle
        >>> model, y = UGMMClassifier(UGMMNetwork([2, 4, 3])), torch.arange(30) % 3
        >>> result = fit_mle(model, torch.randn(30, 2), y, steps=20, num_starts=2, progress=False)
        >>> len(result.fits), result.weights
        (2, tensor([0.5000, 0.5000]))
        >>> [count for fit, count in result.shares(5)]
        [3, 2]
    """

    fits: tuple[FitResult, ...]
    weights: Tensor

    def shares(self, num_samples: int) -> list[tuple[FitResult, int]]:
        """So many draws, shared among the fits by their weights.

        Raises:
            ValueError: if all starts broke down.
        """
        expected = "a start that did not break down"
        check(self.weights.any(), "ensemble", expected, self.reason)
        exact = self.weights.double() * num_samples
        counts = exact.floor()
        counts[(exact - counts).topk(num_samples - int(counts.sum())).indices] += 1
        pairs = zip(self.fits, counts.int().tolist(), strict=True)
        return [(fit, count) for fit, count in pairs if count]


def _copied(model: Any) -> Any:
    if isinstance(model, FunctionWithParameters):
        return FunctionWithParameters(model.function)
    return copy.deepcopy(model)


def model_starts(model: Any, rows: Rows, num_starts: int) -> list[Any]:
    """The model as it is, and copies that start elsewhere.

    Raises:
        ValueError: if it draws no starts.
    """
    expected = "1, as the model is a program that has no other start"
    check(isinstance(model, LatentSites), "num_starts", expected, num_starts)
    copies = [_copied(model) for _ in range(num_starts - 1)]
    for one in copies:
        one.take_start(draw_start(model, rows))
    return [model, *copies]


def svi_starts(model: Any, guide: Any, rows: Rows, num_starts: int) -> list[tuple[Any, Any]]:
    """Models with guides: the first as they are, and copies that start elsewhere.

    Raises:
        ValueError: if the guide cannot be made again.
    """
    make_guide = factory_of(guide)
    pairs = [(model, guide if isinstance(guide, torch.nn.Module) else make_guide(model))]
    for _ in range(num_starts - 1):
        other = _copied(model)
        pairs.append((other, make_guide(other, start=draw_start(model, rows))))
    for _, made in pairs:
        expected = "a guide, or for several starts make_guide(model, start=...) that makes one"
        check(callable(made), "guide", expected, f"what makes {type(made).__name__}")
    return pairs


def _log_scores(fit: FitResult, rows: Rows) -> Tensor:
    """Each row's log predictive density without it, by draws from a guide."""
    names = sites_of(fit.model, rows).latent_sites()

    def one(_: int) -> dict[str, Tensor]:
        nodes = poutine.trace(fit.guide).get_trace(*rows).nodes
        return {name: nodes[name]["value"] for name in names}

    with torch.no_grad(), training_mode(fit.model, False):
        draws = repeated(one, _NUM_DRAWS)
        return leave_one_out_scores(joint_of(fit.model, rows).row_terms(*rows, draws=draws))


def _weights(fits: Sequence[FitResult], rows: Rows) -> Tensor:
    """Weights of fits, all of which are sound."""
    has_scores = fits[0].guide is not None and joint_of(fits[0].model, rows).has_likelihood
    if len(fits) == 1 or not has_scores:
        return torch.full((len(fits),), 1 / len(fits))
    return stacking_weights(torch.stack([_log_scores(fit, rows) for fit in fits], -1)).cpu()


def _mixture(fits: Sequence[FitResult], weights: Tensor, rows: Rows) -> MixtureGuide | None:
    """The mixture of guides, if they are of one model."""
    learned = [dict(fit.model.named_parameters()) for fit in fits]
    is_one = all(torch.equal(one[name], learned[0][name]) for one in learned for name in one)
    if not is_one or not all(isinstance(fit.guide, AutoNormal | AutoContinuous) for fit in fits):
        return None
    return MixtureGuide(fits[0].model, [fit.guide for fit in fits], weights, rows)


def ensemble_of(fits: Sequence[FitResult], how: str, num_starts: int, rows: Rows) -> Ensemble:
    """Weights the fits that are sound, of so many that were wanted; ``how`` they came to be."""
    counted = [i for i, fit in enumerate(fits) if fit.status.is_whole]
    counted = counted or [i for i, fit in enumerate(fits) if fit.interrupted]
    weights, guide = torch.zeros(len(fits)), None
    if counted:
        sound = [fits[i] for i in counted]
        try:
            weights[counted] = _weights(sound, rows).to(weights)
        except KeyboardInterrupt:  # which comes too late to stop anything
            weights[counted] = _weights(sound, rows).to(weights)
        guide = _mixture(sound, weights[counted].to(rows[0].device), rows)
    status, reason = _verdict(fits, counted, f"of {num_starts} starts were fitted {how}")
    return Ensemble(
        losses=fits[int(weights.argmax())].losses,
        status=status,
        reason=reason,
        guide=guide,
        model=fits[0].model,
        fits=tuple(fits),
        weights=weights,
    )


_WORST = (Status.INTERRUPTED, Status.LIMIT_REACHED, Status.CONVERGED)


def _verdict(fits: Sequence[FitResult], counted: Sequence[int], fitted: str) -> tuple[Status, str]:
    broken = [i for i, fit in enumerate(fits) if fit.status is Status.BROKEN_DOWN]
    said = [f"{len(fits)} {fitted}"]
    said += [f"start {i} broke down: {fits[i].reason}" for i in broken]
    if not counted:
        return Status.BROKEN_DOWN, "; ".join(said)
    settled = sum(fits[i].converged for i in counted)
    final = [
        float(losses[-max(1, len(losses) // 10) :].mean())
        for losses in (fits[i].losses for i in counted)
    ]
    said.append(f"{settled} settled, with losses of {min(final):.4g} to {max(final):.4g}")
    met = {fit.status for fit in fits}
    return next(status for status in _WORST if status in met), "; ".join(said)
