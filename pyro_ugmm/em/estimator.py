"""The Gaussian mixture behind scikit-learn's interface."""

import warnings
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from sklearn import get_config
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from ..checks import (
    check,
    check_choice,
    check_device,
    check_integer,
    check_precision,
    check_values,
)
from ..distributions import GaussianMixture
from ..distributions.covariance import SKLEARN_STRUCTURES, Covariance
from ..missing_values import mixture_rule
from ..precision import full_precision
from ..processes import all_reduce, as_one, is_distributed
from ..randomness import generator_for
from ..tables import Table, as_table, as_vector
from .fitter import EMFitter
from .initialization import initialize

__all__ = ["GaussianMixtureEstimator"]


class GaussianMixtureEstimator(DensityMixin, BaseEstimator):
    """A Gaussian mixture fitted by EM, in the place of ``sklearn.mixture.GaussianMixture``.

    Methods, fitted attributes and the arguments that are here are scikit-learn's and mean the same,
    in pipelines and searches too. Not offered are ``warm_start``, ``verbose``,
    ``verbose_interval`` and the ``init_params`` ``"random"`` and ``"k-means++"``. ``mixture_`` is
    the fitted distribution and ``result_`` the fit, with its status and findings.

    Args:
        n_components: how many.
        covariance_type: ``"full"``, ``"tied"``, ``"diag"`` or ``"spherical"``.
        tol: stop when the mean log-likelihood changes by less.
        reg_covar: what is added to all variances.
        max_iter: the most M-steps to take.
        n_init: the restarts; the best is kept. With ``means_init`` there is but one.
        init_params: ``"kmeans"`` or ``"random_from_data"``.
        weights_init: where to start, shape ``(K,)``.
        means_init: likewise, shape ``(K, D)``.
        precisions_init: likewise, in the shape of ``precisions_``.
        random_state: a seed, a ``RandomState``, or ``None``.
        device: the torch device to fit on; by default, that of a tensor, else the processor.
        missing: what NaN means: an ``"error"``, or an entry to ``"marginalize"``.
        group: the processes that fit together, as to :class:`pyro_ugmm.em.EMFitter`.

    Raises:
        ValueError: if an argument is out of its range or ``X`` is not a matrix of finite numbers.

    Example:
        >>> import numpy as np
        >>> from pyro_ugmm.em.estimator import GaussianMixtureEstimator
        >>> X = np.random.default_rng(0).normal(size=(100, 2))
        >>> GaussianMixtureEstimator(2, random_state=0).fit(X).predict(X).shape
        (100,)
    """

    def __init__(
        self,
        n_components=1,
        *,
        covariance_type="full",
        tol=1e-3,
        reg_covar=1e-6,
        max_iter=100,
        n_init=1,
        init_params="kmeans",
        weights_init=None,
        means_init=None,
        precisions_init=None,
        random_state=None,
        device=None,
        missing="error",
        group=None,
    ):
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.device = device
        self.missing = missing
        self.group = group

    @as_one
    @full_precision
    def fit(self, X, y=None) -> Self:
        """Fits the mixture to rows ``(n, D)``."""
        n_components = check_integer("n_components", self.n_components)
        mixture_rule(self.missing)
        settings = {name: getattr(self, name) for name in ("tol", "max_iter", "reg_covar", "group")}
        fitter = EMFitter(**settings, progress=False)
        device = _device_for(X, self.device)
        table = self._rows(X, reset=True)
        (count,) = all_reduce([torch.tensor([len(table.values)])])
        least = max(n_components, 2)
        expected = f"at least {least} rows, to fit n_components={n_components}"
        check(count >= least, "X", expected, f"{int(count)}")
        table = replace(table, values=table.values.to(device), is_tensor=True)
        result = fitter.fit(table, self._start(table, n_components))
        if not result.converged:
            warnings.warn(result.reason, ConvergenceWarning, stacklevel=4)
        self.result_, self.mixture_ = result, result.mixture
        self.converged_, self.n_iter_ = result.converged, result.n_iter
        self.lower_bound_, self.lower_bounds_ = result.objective, result.history.tolist()
        fitted = result.mixture.to_sklearn()
        for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
            setattr(self, name, _as_it_came(torch.from_numpy(getattr(fitted, name)), X))
        return self

    def _rows(self, X, *, reset: bool) -> Table:
        """Checks rows as scikit-learn does; names of columns are kept for messages."""
        if not reset and self._is_plainly_right(X):
            return as_table("X", X)
        may_miss = mixture_rule(self.missing).takes_nan
        options: dict[str, Any] = {
            "dtype": [np.float64, np.float32],
            "ensure_all_finite": "allow-nan" if may_miss else True,
            "ensure_min_samples": 0 if is_distributed() and reset else 1 + reset,
        }
        if isinstance(X, list | tuple):  # which may hold what is masked or null
            X = as_table("X", X).values.numpy()
        is_special = isinstance(X, Tensor | np.ma.MaskedArray) or hasattr(X, "columns")
        if not is_special:
            X = validate_data(self, X, reset=reset, **options)
            return as_table("X", X)
        table = as_table("X", X)
        check_precision("X", table.values)
        validate_data(self, X, reset=reset, skip_check_array=True)
        table.check_finite(mixture_rule(self.missing))
        array = table.values.detach().cpu().numpy()
        check_array(array, estimator=self, input_name="X", **options)
        return table

    def _is_plainly_right(self, X) -> bool:
        """Whether new rows need none of scikit-learn's checks, which take longer than few rows."""
        return (
            type(X) is np.ndarray
            and X.dtype in (np.float64, np.float32)
            and X.ndim == 2
            and len(X) > 0
            and X.shape[1] == self.n_features_in_
            and not hasattr(self, "feature_names_in_")
            and bool(np.isfinite(X.sum()))
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = mixture_rule(self.missing).takes_nan
        return tags

    def _start(self, table: Table, n_components: int) -> GaussianMixture:
        kind = check_choice("covariance_type", self.covariance_type, SKLEARN_STRUCTURES)
        method = check_choice("init_params", self.init_params, ("kmeans", "random_from_data"))
        n_init = check_integer("n_init", self.n_init)
        has_means = self.means_init is not None
        start = initialize(
            table,
            n_components,
            SKLEARN_STRUCTURES[kind].name,
            method=None if has_means else method,
            means=as_table("means_init", self.means_init) if has_means else None,
            n_init=1 if has_means else n_init,
            seed=_seed_of(self.random_state),
            reg_covar=self.reg_covar,
            missing=self.missing,
            group=self.group,
        )
        weights, covariance = start.weights, start.covariance
        if self.weights_init is not None:
            weights = _given_weights(self.weights_init, n_components).to(weights)
        if self.precisions_init is not None:
            covariance = _given_covariance(self.precisions_init, start, kind)
        return GaussianMixture(weights, start.means, covariance, missing=self.missing)

    @full_precision
    def _evaluate(self, method: str, X) -> Any:
        """Evaluates rows in the more precise of their dtype and the fit's."""
        if not self.__sklearn_is_fitted__():  # which is all that is asked, in a tenth of the time
            check_is_fitted(self)
        values = self._rows(X, reset=False).values
        means = self.mixture_.means
        dtype = torch.promote_types(values.dtype, means.dtype)
        mixture = self.mixture_ if dtype == means.dtype else self.mixture_.to(dtype)
        value = getattr(mixture, method)(values.to(means.device, dtype))
        return _as_it_came(value, X) if isinstance(value, Tensor) else value

    def score_samples(self, X) -> np.ndarray:
        """Evaluates the log density of each row."""
        return self._evaluate("log_prob", X)

    def score(self, X, y=None) -> float:
        """Evaluates the mean log-likelihood per row."""
        return float(self.score_samples(X).mean())

    def predict(self, X) -> np.ndarray:
        """Returns the most probable component of each row."""
        return self._evaluate("predict", X)

    def predict_proba(self, X) -> np.ndarray:
        """Returns the probability of each component given each row."""
        return self._evaluate("responsibilities", X)

    def fit_predict(self, X, y=None) -> np.ndarray:
        """Fits, and returns the most probable component of each row."""
        return self.fit(X).predict(X)

    def sample(self, n_samples=1) -> tuple[np.ndarray, np.ndarray]:
        """Draws rows and the component of each, from ``random_state``."""
        check_is_fitted(self)
        count = check_integer("n_samples", n_samples)
        generator = generator_for(_seed_of(self.random_state), self.mixture_.means.device)
        x, component = self.mixture_.sample_with_component((count,), generator=generator)
        return _as_it_came(x, self.means_), _as_it_came(component, self.means_)

    def aic(self, X) -> float:
        """Akaike's criterion for rows; the lower the better."""
        return self._evaluate("aic", X)

    def bic(self, X) -> float:
        """The Bayesian criterion for rows; the lower the better."""
        return self._evaluate("bic", X)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "mixture_")


def _device_for(X: Any, device: Any) -> torch.device:
    given = check_device("device", device)
    here = X.device if isinstance(X, Tensor) else torch.device("cpu")
    return here if given is None else given


def _seed_of(random_state: Any) -> int:
    expected = "a seed, a RandomState, or None"
    is_flag = isinstance(random_state, bool | np.bool_)
    check(not is_flag, "random_state", expected, random_state)
    try:
        state = check_random_state(random_state)
    except (ValueError, TypeError):
        raise ValueError(f"random_state: expected {expected}, got {random_state!r}") from None
    return int(state.randint(np.iinfo(np.int32).max))


def _as_it_came(value: Tensor, X: Any) -> Any:
    """As scikit-learn does: tensors for tensors if it dispatches on arrays, else arrays."""
    dispatches = isinstance(X, Tensor) and get_config()["array_api_dispatch"]
    return value.to(X.device) if dispatches else value.cpu().numpy()


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
