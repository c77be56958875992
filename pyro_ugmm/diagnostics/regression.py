"""The posterior predictive of a regression: a mixture over draws, its quantiles and intervals."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch
from pyro.infer import MCMC
from torch import Tensor

from ..checks import check, check_integer, check_number, check_values
from ..distributions import UnivariateGaussianMixture
from ..ensemble import Ensemble
from ..models import UGMMRegressor
from ..nn.mode import training_mode
from ..precision import full_precision
from ..programs.entry import enter, enter_observed
from ..sampling import PosteriorSample
from ..tables import as_table
from .conformal import conformal_tail
from .draws import MOST_VALUES, evaluation, posterior_draws

__all__ = ["prediction_intervals", "predictive_mixture", "predictive_quantiles"]

_Inference: TypeAlias = Callable | Ensemble | PosteriorSample | MCMC | None


@full_precision
def predictive_mixture(
    model: UGMMRegressor,
    inference: _Inference,
    x: Any,
    num_samples: int = 200,
    seed: int | None = None,
) -> UnivariateGaussianMixture:
    r"""Returns the posterior predictive of each row's targets, a mixture over draws and components.

    .. math:: p(y \mid x) = \frac{1}{S} \sum_{s=1}^S p(y \mid x, \theta_s)

    Its ``mean`` is the prediction of least squared error, ``log_prob`` at held-out targets the log
    score, ``cdf`` there is uniform if predictions are calibrated, and ``sample`` draws targets.

    Args:
        model: the model.
        inference: its fitted guide, a sample of its posterior, or MCMC that was run; the ensemble
            of several starts, whose guides have shares of the draws by their weights; or None for a
            model without priors.
        x: features, shape ``(n, K)``.
        num_samples: the number of draws ``S`` from a guide, or the guides of an ensemble; of one
            fitted by maximum likelihood ``S`` is the number of its models.
        seed: for the draws; torch's generator is used, and left alone if given.

    Returns:
        Mixtures of the batch shape ``(n,)``, or ``(n, M)`` of several outputs, on the CPU.

    Raises:
        ValueError: if the model is no regression, features do not fit it, or the inference
            misses one of its sites.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import predictive_mixture
        >>> from pyro_ugmm.guides import mean_field
        >>> from pyro_ugmm.models import Priors, UGMMRegressor
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> model = UGMMRegressor(UGMMNetwork([2, 4, 20]), Priors())
        >>> predictive_mixture(model, mean_field(model), torch.randn(10, 2), num_samples=5)
        UnivariateGaussianMixture(batch_shape=(10,), n_components=100)
    """
    parts = [*_by_rows(model, inference, x, num_samples, seed)]
    loc, scale, logits = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("loc", "scale", "logits")
    )
    return UnivariateGaussianMixture(loc, scale, logits, validate_args=False)


@full_precision
def predictive_quantiles(
    model: UGMMRegressor,
    inference: _Inference,
    x: Any,
    q: Any = (0.05, 0.5, 0.95),
    num_samples: int = 200,
    seed: int | None = None,
) -> Tensor:
    r"""Solves :math:`P(y \le v \mid x) = q` of the posterior predictive for :math:`v`.

    The predictive CDF is inverted, not estimated by quantiles of draws.

    Args:
        model: the model.
        inference: what made draws, or None, as of :func:`predictive_mixture`.
        x: features, shape ``(n, K)``.
        q: probabilities within (0, 1), shape ``(Q,)``.
        num_samples: the number of draws.
        seed: for the draws.

    Returns:
        Quantiles, shape ``(Q, n)``, or ``(Q, n, M)`` of several outputs, on the CPU.

    Raises:
        ValueError: as of :func:`predictive_mixture`, or if ``q`` holds no such probabilities.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import predictive_quantiles
        >>> from pyro_ugmm.models import UGMMRegressor
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> model = UGMMRegressor(UGMMNetwork([2, 4, 20]))
        >>> predictive_quantiles(model, None, torch.randn(10, 2), q=[0.1, 0.9]).shape
        torch.Size([2, 10])
    """
    q = as_table("q", q).values.detach().cpu()
    check(q.dim() == 1 and len(q) > 0, "q", "shape (Q,)", tuple(q.shape))
    check_values("q", q, (q > 0) & (q < 1), "probabilities within (0, 1)")
    parts = []
    for mixture in _by_rows(model, inference, x, num_samples, seed):
        probabilities = q.to(mixture.loc).reshape(-1, *[1] * len(mixture.batch_shape))
        parts.append(mixture.icdf(probabilities))
    return torch.cat(parts, 1)


def prediction_intervals(
    model: UGMMRegressor,
    inference: _Inference,
    x: Any,
    coverage: float = 0.9,
    num_samples: int = 200,
    seed: int | None = None,
    *,
    calibration: tuple[Any, Any] | None = None,
) -> Tensor:
    """Returns central intervals that hold a row's target with a probability, by the predictive.

    With rows held back for ``calibration`` intervals are conformal: as wide as it takes to hold
    this share of those rows. Then, if rows are exchangeable, a new one lies within with a
    probability between the coverage and :math:`1 / (m + 1)` more for :math:`m` such rows, whatever
    the model. Source: Chernozhukov, Wüthrich and Zhu (2021), *Distributional conformal
    prediction*, PNAS 118(48).

    Args:
        model: the model.
        inference: what made draws, or None, as of :func:`predictive_mixture`.
        x: features, shape ``(n, K)``.
        coverage: the probability; what is left is shared by both sides.
        num_samples: the number of draws.
        seed: for the draws.
        calibration: features, shape ``(m, K)``, and targets of rows that the model was not fitted
            to; of several outputs each is calibrated by itself.

    Returns:
        Lower and upper ends, shape ``(2, n)``, or ``(2, n, M)`` of several outputs, on the CPU.

    Raises:
        ValueError: as of :func:`predictive_mixture`, if ``coverage`` is not within (0, 1), or
            ``calibration`` holds too few rows for it.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import prediction_intervals
        >>> from pyro_ugmm.models import UGMMRegressor
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> model = UGMMRegressor(UGMMNetwork([2, 4, 20]))
        >>> low, high = prediction_intervals(model, None, torch.randn(10, 2))
        >>> bool((low < high).all())
        True
    """
    expected = "a probability within (0, 1)"
    coverage = check_number("coverage", coverage, lambda c: 0 < c < 1, expected)
    if calibration is None:
        q = torch.tensor([(1 - coverage) / 2, (1 + coverage) / 2], dtype=torch.float64)
        return predictive_quantiles(model, inference, x, q, num_samples, seed)
    is_pair = isinstance(calibration, tuple | list) and len(calibration) == 2
    check(is_pair, "calibration", "features and targets, (x, y)", type(calibration).__name__)
    check(isinstance(model, UGMMRegressor), "model", "a UGMMRegressor", type(model).__name__)
    held_back = enter_observed(model, *calibration, "targets of the rows for calibration")
    targets = held_back[-1].detach().cpu().double()
    tails, ends, n_done = [], [], 0
    for both in _both_ways(model, inference, held_back[0], num_samples, seed):
        n_rows = both[0].batch_shape[0]
        y = targets[n_done : n_done + n_rows]
        tails.append(torch.minimum(both[0].cdf(y), both[1].cdf(-y)))
        n_done += n_rows
    tail = conformal_tail(torch.cat(tails), coverage)
    for up, down in _both_ways(model, inference, x, num_samples, seed):
        ends.append(torch.stack([up.icdf(tail), -down.icdf(tail)]))
    return torch.cat(ends, 1).to(held_back[-1].dtype)


def _both_ways(*asked: Any) -> Iterator[tuple[UnivariateGaussianMixture, ...]]:
    """Predictives and their mirror images, whose CDF is small where the other's is near one."""
    for mixture in _by_rows(*asked):
        loc, scale, logits = (
            part.double() for part in (mixture.loc, mixture.scale, mixture.logits)
        )
        yield tuple(
            UnivariateGaussianMixture(sign * loc, scale, logits, validate_args=False)
            for sign in (1, -1)
        )


def _by_rows(
    model: Any, inference: _Inference, x: Any, num_samples: Any, seed: int | None
) -> Iterator[UnivariateGaussianMixture]:
    """The predictive of some rows after the other, so that what is held has a bound."""
    check(isinstance(model, UGMMRegressor), "model", "a UGMMRegressor", type(model).__name__)
    (x,) = enter(model, x)
    num_samples = check_integer("num_samples", num_samples)
    with evaluation(model, seed):
        drawn = _drawn(model, inference, x, num_samples)
        n_draws = sum(len(next(iter(draws.values()), [0])) for _, draws in drawn)
        for rows in x.split(max(1, MOST_VALUES // (n_draws * model.values_per_row))):
            yield _pooled([_mixtures(one, rows, draws) for one, draws in drawn])


def _drawn(model: Any, inference: Any, x: Tensor, num_samples: int) -> list[tuple[Any, dict]]:
    """Models with draws of their sites, which are none of one that was fitted without a guide."""
    if isinstance(inference, Ensemble):
        shares = inference.shares(num_samples)
        return [_drawn(fit.model, fit.guide, x, count)[0] for fit, count in shares]
    if inference is not None:
        return [(model, posterior_draws(model, inference, num_samples, (x,)).values)]
    sites = [*model.site_distributions()]
    check(not sites, "inference", "a fitted guide or a sample, as the model has priors", "None")
    return [(model, {})]


def _mixtures(model: Any, x: Tensor, draws: dict[str, Tensor]) -> UnivariateGaussianMixture:
    """The mixtures under each draw, ``(S, n)`` or ``(S, n, M)``."""
    with training_mode(model, False):
        mixture = model.mixture(x, draws)
    return mixture if draws else mixture.expand((1, *mixture.batch_shape))


def _pooled(mixtures: list[UnivariateGaussianMixture]) -> UnivariateGaussianMixture:
    """One mixture of all draws, which count alike, ``(n,)`` or ``(n, M)``."""
    loc, scale, logits = (
        torch.cat([getattr(one, name) for one in mixtures]).movedim(0, -2).flatten(-2).cpu()
        for name in ("loc", "scale", "logits")
    )
    return UnivariateGaussianMixture(loc, scale, logits, validate_args=False)
