"""The Gaussian mixture behind scikit-learn's interface."""

import warnings
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ..checks import check
from ..distributions import GaussianMixture
from ..distributions.covariance import STRUCTURES
from ..distributions.interchange import SKLEARN_NAMES
from ..distributions.multivariate import check_missing
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
        device: the torch device to fit on; by default, the processor.
        missing: what NaN means: an ``"error"``, or an entry to ``"marginalize"``.

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

    def fit(self, X, y=None) -> Self:
        """Fits the mixture to rows ``(n, D)``."""
        check_missing(self.missing)
        X = validate_data(self, X, ensure_min_samples=2, **self._accepts())
        expected = f"at least n_components={self.n_components} rows"
        check(len(X) >= self.n_components, "X", expected, f"{len(X)}")
        fitter = EMFitter(self.tol, self.max_iter, self.reg_covar, progress=False)
        result = fitter.fit(X, self._start(X))
        if not result.converged:
            warnings.warn(result.status, ConvergenceWarning, stacklevel=2)
        self.result_, self.mixture_ = result, result.mixture
        self.converged_, self.n_iter_ = result.converged, result.n_iter
        self.lower_bound_ = result.history[-1].item() if result.n_iter else -np.inf
        self.lower_bounds_ = result.history.tolist()
        fitted = result.mixture.to_sklearn()
        for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
            setattr(self, name, getattr(fitted, name))
        return self

    def _accepts(self) -> dict[str, Any]:
        finite = "allow-nan" if self.missing == "marginalize" else True
        return {"dtype": [np.float64, np.float32], "ensure_all_finite": finite}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == "marginalize"
        return tags

    def _start(self, X: np.ndarray) -> GaussianMixture:
        names = {theirs: ours for ours, theirs in SKLEARN_NAMES.items()}
        expected = f"one of {list(names)}"
        check(self.covariance_type in names, "covariance_type", expected, self.covariance_type)
        check(
            self.init_params in ("kmeans", "random_from_data"),
            "init_params",
            "'kmeans' or 'random_from_data'",
            repr(self.init_params),
        )
        device = torch.device("cpu" if self.device is None else self.device)
        start = initialize(
            torch.from_numpy(np.array(X)).to(device),
            self.n_components,
            names[self.covariance_type],
            method=self.init_params if self.means_init is None else None,
            means=self.means_init,
            n_init=self.n_init if self.means_init is None else 1,
            seed=int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max)),
            reg_covar=self.reg_covar,
            missing=self.missing,
        )
        weights, covariance = start.weights, start.covariance
        if self.weights_init is not None:
            weights = torch.as_tensor(np.asarray(self.weights_init)).to(weights)
        if self.precisions_init is not None:
            structure = STRUCTURES[names[self.covariance_type]]
            precisions = torch.as_tensor(np.asarray(self.precisions_init)).to(weights)
            shape, fitting = tuple(precisions.shape), tuple(covariance.values.shape)
            check(shape == fitting, "precisions_init", f"shape {fitting}", shape)
            try:
                structure(precisions, validate_args=True)
            except ValueError as error:
                raise ValueError(f"precisions_init, {error}") from None
            inverse = torch.linalg.inv if structure.values_dim == 2 else torch.reciprocal
            covariance = structure(inverse(precisions))
        return GaussianMixture(weights, start.means, covariance, missing=self.missing)

    def _evaluate(self, method: str, X) -> Any:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, **self._accepts())
        rows = torch.from_numpy(np.array(X)).to(self.mixture_.means)
        value = getattr(self.mixture_, method)(rows)
        return value.cpu().numpy() if isinstance(value, torch.Tensor) else value

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
        with torch.random.fork_rng():
            seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
            torch.manual_seed(int(seed))
            x, component = self.mixture_.sample_with_component((n_samples,))
        return x.cpu().numpy(), component.cpu().numpy()

    def aic(self, X) -> float:
        """Akaike's criterion for rows; the lower the better."""
        return self._evaluate("aic", X)

    def bic(self, X) -> float:
        """The Bayesian criterion for rows; the lower the better."""
        return self._evaluate("bic", X)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "mixture_")
