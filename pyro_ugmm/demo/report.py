"""What the demo says."""

from typing import Any

import torch
from torch import Tensor

from ..diagnostics import class_probabilities, prediction_intervals, predictive_mixture
from ..em.selection import Selection
from .mixture import Bayesian
from .network import Trained
from .table import DemoTable

__all__ = ["heading", "introduction", "of_mixture", "of_network", "of_posterior", "of_regression"]

_WIDTH = 78


def heading(number: int, text: str) -> str:
    """A line over a part."""
    return f"\n{number}  {text}\n{'-' * _WIDTH}"


def of_mixture(found: Selection) -> str:
    """The best of several fits."""
    best = found.best
    size = f"{best.n_components} component{'s' if best.n_components > 1 else ''}"
    sound = [row for row in found.table if row is not best and not row.unsound]
    runners = sorted(sound, key=lambda row: row.bic)[:2]
    others = ", ".join(f"{row.n_components} {row.structure}: {row.bic:.1f}" for row in runners)
    return "\n".join(
        [
            f"best by BIC of {len(found.table)} fits: {size} with {best.structure} covariances",
            f"BIC {best.bic:.1f} (next, {others})" if others else f"BIC {best.bic:.1f}",
            str(best.result.report),
        ]
    )


def of_posterior(found: Bayesian) -> str:
    """Whether it was reached, its evidence, and what is expected of new rows."""
    left_out, sample = found.left_out, found.sample
    good = int((left_out.pareto_k <= left_out.good_k).sum())
    n_rows = len(found.rows)
    elpd = f"{float(left_out.elpd):.1f} ± {float(left_out.se):.1f}"
    k = f"Pareto k at most {left_out.good_k:.2f} in {good} of {left_out.pareto_k.size} rows"
    return "\n".join(
        [
            f"{found.model.n_components} components, {n_rows} rows of",
            f"  {', '.join(found.rows.columns)}",
            sample.reason,
            f"log evidence   {sample.log_evidence:.1f} ± {sample.log_evidence_error:.1f}",
            f"leave-one-out  elpd {elpd}; {k}",
        ]
    )


def _score(name: str, probabilities: Tensor, y: Tensor) -> str:
    right = int((probabilities.argmax(-1) == y).sum())
    log_loss = -probabilities[torch.arange(len(y)), y].clamp(min=1e-6).log().mean()
    return f"{name:<28}{right / len(y):>10.3f}{log_loss:>10.3f}"


def of_network(trained: Trained, x: Tensor, y: Tensor) -> str:
    """How well labels of held-out rows are predicted."""
    with torch.no_grad():
        likely = trained.network(x).softmax(-1)
    drawn = class_probabilities(trained.model, trained.guide, x, seed=0).mean(0)
    return "\n".join(
        [
            f"{trained.network}",
            f"{f'held out, {len(y)} rows':<28}{'accuracy':>10}{'log-loss':>10}",
            _score("maximum likelihood", likely, y),
            _score("with priors, by SVI", drawn, y),
            f"SVI {trained.svi.reason}",
        ]
    )


def of_regression(trained: Trained, held_back: tuple[Tensor, Tensor], x: Tensor, y: Tensor) -> str:
    """How well targets of held-out rows are predicted, with intervals by rows held back."""
    lines = [
        f"{trained.network}",
        f"{f'held out, {len(y)} rows':<28}{'log score':>10}{'error':>10}{'90 % holds':>12}",
    ]
    for name, model, inference in (
        ("maximum likelihood", trained.likely, None),
        ("with priors, by SVI", trained.model, trained.guide),
    ):
        asked: dict[str, Any] = {"model": model, "inference": inference, "x": x, "seed": 0}
        predicted = predictive_mixture(**asked)
        low, high = prediction_intervals(**asked, calibration=held_back)
        within = ((low <= y) & (y <= high)).double().mean()
        error = (predicted.mean - y).square().mean().sqrt()
        score = predicted.log_prob(y).mean()
        lines.append(f"{name:<28}{score:>10.3f}{error:>10.3g}{within:>12.3f}")
    spread = f"the targets' standard deviation is {y.std():.3g}; intervals are conformal"
    said = f"SVI {trained.svi.reason}"
    return "\n".join([*lines, f"{spread}, by {len(held_back[1])} rows held back", said])


def introduction(table: DemoTable, version: str) -> str:
    """The first lines."""
    return f"pyro_ugmm {version}\n{table}"
