"""Where an estimator in scikit-learn's words starts, given some of the parameters or none."""

from typing import Any

from torch import Tensor

from ..checks import check, check_choice, check_integer, check_values
from ..distributions import GaussianMixture
from ..distributions.covariance import ESTIMATOR_STRUCTURES, SKLEARN_STRUCTURES, Covariance
from ..tables import Table, as_table, as_vector
from .fitted import seed_of
from .initialization import METHODS, initialize

__all__ = ["first_start", "last_fit"]


def last_fit(estimator: Any, table: Table) -> GaussianMixture:
    """Returns what an estimator was fitted to, in the dtype of rows and on their device."""
    mixture: GaussianMixture = estimator.mixture_
    kind = ESTIMATOR_STRUCTURES[estimator.covariance_type].name
    now = f"n_components={estimator.n_components} and {kind} covariances"
    before = f"n_components={mixture.n_components} and {mixture.covariance.name} covariances"
    check(now == before, "warm_start", f"{before}, as in the last fit", now)
    return mixture.to(table.values)


def first_start(
    estimator: Any, table: Table, sample_weight: Any, labels: Any = None
) -> GaussianMixture:
    """Returns the start of an estimator's first fit, of batch shape ``(n_init,)`` or ``()``."""
    kind = check_choice("covariance_type", estimator.covariance_type, ESTIMATOR_STRUCTURES)
    method = check_choice("init_params", estimator.init_params, METHODS)
    n_components = check_integer("n_components", estimator.n_components)
    n_init = check_integer("n_init", estimator.n_init)
    has_means = estimator.means_init is not None
    is_drawn = not has_means and labels is None
    start = initialize(
        table,
        n_components,
        ESTIMATOR_STRUCTURES[kind].name,
        rank=estimator.rank,
        method=method if is_drawn else None,
        labels=None if has_means else labels,
        means=as_table("means_init", estimator.means_init) if has_means else None,
        sample_weight=sample_weight,
        n_init=n_init if is_drawn else 1,
        seed=seed_of(estimator.random_state),
        reg_covar=estimator.reg_covar,
        missing=estimator.missing,
        prior=estimator.prior,
        group=estimator.group,
    )
    weights, covariance = start.weights, start.covariance
    if estimator.weights_init is not None:
        weights = _given_weights(estimator.weights_init, n_components).to(weights)
    if estimator.precisions_init is not None:
        covariance = _given_covariance(estimator.precisions_init, start, kind)
    return GaussianMixture(weights, start.means, covariance, missing=estimator.missing)


def _given_weights(value: Any, n_components: int) -> Tensor:
    weights = as_vector("weights_init", value)
    shape, expected = tuple(weights.shape), (n_components,)
    check(shape == expected, "weights_init", f"shape {expected}", shape)
    check_values("weights_init", weights, weights >= 0, "non-negative values")
    total = weights.double().sum()
    check_values("weights_init", total, (total - 1).abs() < 1e-5, "weights that sum to one; as sum")
    return weights


def _given_covariance(precisions: Any, start: GaussianMixture, covariance_type: str) -> Covariance:
    """The covariance whose inverse was given, shared by all starts."""
    wanted = f"None, with covariance_type={covariance_type!r}"
    check(covariance_type in SKLEARN_STRUCTURES, "precisions_init", wanted, "precisions")
    structure = SKLEARN_STRUCTURES[covariance_type]
    table = as_table("precisions_init", precisions)
    (like,) = start.covariance.tensors().values()
    expected = tuple(like.shape[len(start.covariance.batch_shape) :])
    shape = tuple(table.values.shape)
    check(shape == expected, "precisions_init", f"shape {expected}", shape)
    table.check_finite()
    values = table.values.detach().double()
    try:
        structure(values, validate_args=True)
    except ValueError as error:
        message = str(error).partition(": ")[2]
        raise ValueError(f"precisions_init: {message}") from None
    covariance = structure.from_precisions(values).to(start.means)
    try:
        return structure.from_tensors(covariance.tensors(), validate_args=True)
    except ValueError:
        wanted = f"precisions whose inverse {start.means.dtype} can hold"
        raise ValueError(f"precisions_init: expected {wanted}, got others") from None
