"""Variational Bayes behind scikit-learn's interface."""

import warnings
from typing import Any, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from ...checks import check_choice
from ...distributions.covariance import SKLEARN_STRUCTURES
from ...precision import full_precision
from ...processes import as_one
from ..fitted import FittedMixture, seed_of
from ..initialization import METHODS, initialize
from .fitter import VariationalEM
from .priors import VariationalPriors

__all__ = ["BayesianGaussianMixtureEstimator"]

_PRIORS = (
    "weight_concentration_prior",
    "mean_precision_prior",
    "mean_prior",
    "degrees_of_freedom_prior",
    "covariance_prior",
)


class BayesianGaussianMixtureEstimator(FittedMixture):
    """Variational Bayes, in the place of ``sklearn.mixture.BayesianGaussianMixture``.

    Methods, fitted attributes and the arguments that are here are scikit-learn's and mean the same;
    rows may have weights. Not offered are ``reg_covar``, whose part the prior has, ``warm_start``
    and ``verbose``. ``mixture_`` is the mixture of the posterior's expectations, whose density
    ``score_samples`` evaluates, and ``result_`` the fit; ``predict`` averages over the posterior.

    Args:
        n_components: how many at most.
        covariance_type: ``"full"``, ``"tied"``, ``"diag"`` or ``"spherical"``.
        tol: stop when the lower bound changes by less.
        max_iter: the most iterations.
        n_init: the restarts; the best is kept.
        init_params: as the methods of :func:`pyro_ugmm.em.initialize`.
        weight_concentration_prior_type: ``"dirichlet_process"`` or ``"dirichlet_distribution"``.
        weight_concentration_prior: as of :class:`pyro_ugmm.em.VariationalPriors`, as are the next.
        mean_precision_prior: likewise; by default one.
        mean_prior: likewise.
        degrees_of_freedom_prior: likewise.
        covariance_prior: likewise.
        random_state: a seed, a ``RandomState``, or ``None``.
        normalizer: as of :class:`pyro_ugmm.em.VariationalEM`.
        device: the torch device to fit on; by default, that of a tensor, else the processor.
        missing: what NaN means: an ``"error"``, or an entry to ``"marginalize"``.
        group: the processes that fit together, as to :class:`pyro_ugmm.em.EMFitter`.

    Raises:
        ValueError: if an argument is out of its range or ``X`` is not a matrix of finite numbers.

    Example:
        >>> import numpy as np
        >>> from pyro_ugmm.em.variational.estimator import BayesianGaussianMixtureEstimator
        >>> X = np.random.default_rng(0).normal(size=(100, 2))
        >>> estimator = BayesianGaussianMixtureEstimator(5, max_iter=500, random_state=0).fit(X)
        >>> estimator.predict(X).shape
        (100,)
    """

    def __init__(
        self,
        n_components=1,
        *,
        covariance_type="full",
        tol=1e-3,
        max_iter=100,
        n_init=1,
        init_params="kmeans",
        weight_concentration_prior_type="dirichlet_process",
        weight_concentration_prior=None,
        mean_precision_prior=None,
        mean_prior=None,
        degrees_of_freedom_prior=None,
        covariance_prior=None,
        random_state=None,
        normalizer="exact",
        device=None,
        missing="error",
        group=None,
    ):
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weight_concentration_prior_type = weight_concentration_prior_type
        self.weight_concentration_prior = weight_concentration_prior
        self.mean_precision_prior = mean_precision_prior
        self.mean_prior = mean_prior
        self.degrees_of_freedom_prior = degrees_of_freedom_prior
        self.covariance_prior = covariance_prior
        self.random_state = random_state
        self.normalizer = normalizer
        self.device = device
        self.missing = missing
        self.group = group

    @as_one
    @full_precision
    def fit(self, X, y=None, sample_weight=None) -> Self:
        """Fits to rows ``(n, D)``, which may have weights ``(n,)``."""
        fitter = self._fitter()
        kind = check_choice("covariance_type", self.covariance_type, SKLEARN_STRUCTURES)
        table, _ = self._table(X, is_first=True)
        start = initialize(
            table,
            self.n_components,
            SKLEARN_STRUCTURES[kind].name,
            method=check_choice("init_params", self.init_params, METHODS),
            sample_weight=sample_weight,
            n_init=self.n_init,
            seed=seed_of(self.random_state),
            missing=self.missing,
            group=self.group,
        )
        self.result_ = result = fitter.fit(table, start, sample_weight)
        if not result.converged:
            warnings.warn(result.reason, ConvergenceWarning, stacklevel=4)
        self.converged_, self.n_iter_ = result.converged, result.n_iter
        self.lower_bound_, self.lower_bounds_ = result.final_bound, result.lower_bound.tolist()
        components = result.posterior.components
        self.mean_precision_ = components.mean_precision.cpu().numpy()
        self.degrees_of_freedom_ = components.degrees_of_freedom.cpu().numpy()
        self._assigning = result.posterior.assigning(self.missing)
        self._keep(result.mixture, X)
        return self

    def _fitter(self) -> VariationalEM:
        given = {name: getattr(self, name) for name in _PRIORS}
        given = {name: value for name, value in given.items() if value is not None}
        return VariationalEM(
            weight_prior=self.weight_concentration_prior_type,
            priors=VariationalPriors(**given),
            tol=self.tol,
            max_iter=self.max_iter,
            normalizer=self.normalizer,
            progress=False,
            group=self.group,
        )

    def predict(self, X) -> np.ndarray:
        """Returns the most probable component of each row."""
        return self._assign("predict", X)

    def predict_proba(self, X) -> np.ndarray:
        """Returns the probability of each component given each row."""
        return self._assign("responsibilities", X)

    def _assign(self, method: str, X) -> Any:
        check_is_fitted(self)
        return self._ask(self._assigning, method, X)

    def fit_predict(self, X, y=None, sample_weight=None) -> np.ndarray:
        """Fits, and returns the most probable component of each row."""
        return self.fit(X, sample_weight=sample_weight).predict(X)
