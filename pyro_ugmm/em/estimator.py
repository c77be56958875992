"""The Gaussian mixture behind scikit-learn's interface."""

import warnings
from dataclasses import replace
from typing import Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ..checks import check, check_flag
from ..precision import full_precision
from ..processes import all_reduce, as_one
from ..tables import as_vector
from .fitted import FittedMixture
from .fitter import EMFitter
from .given_start import first_start, last_fit
from .stepwise import StepwiseEM
from .verbosity import spoken

__all__ = ["GaussianMixtureEstimator"]


class GaussianMixtureEstimator(FittedMixture):
    """A Gaussian mixture fitted by EM, in the place of ``sklearn.mixture.GaussianMixture``.

    Methods, fitted attributes and arguments are scikit-learn's and mean the same, in pipelines and
    searches too; rows may have weights. ``mixture_`` is the fitted distribution, ``result_`` the
    last :meth:`fit`, with its status and findings, and ``stepwise_`` where :meth:`partial_fit`
    goes on.

    Args:
        n_components: how many.
        covariance_type: ``"full"``, ``"tied"``, ``"diag"``, ``"spherical"``, or ``"low_rank"``,
            whose ``covariances_`` are full.
        tol: stop when the mean log-likelihood changes by less.
        reg_covar: what is added to all variances.
        max_iter: the most M-steps to take; with none, the best start is what was fitted.
        n_init: the restarts; the best is kept. With ``means_init`` there is but one.
        init_params: ``"kmeans"``, ``"k-means++"``, ``"random"`` or ``"random_from_data"``, as the
            methods of :func:`pyro_ugmm.em.initialize`.
        weights_init: where to start, shape ``(K,)``.
        means_init: likewise, shape ``(K, D)``.
        precisions_init: likewise, in the shape of ``precisions_``.
        random_state: a seed, a ``RandomState``, or ``None``.
        warm_start: whether :meth:`fit` starts where the last one ended.
        verbose: whether to print the steps, all restarts together; above one, with figures.
        verbose_interval: the steps from one line to the next.
        rank: of ``"low_rank"``, as to :func:`pyro_ugmm.em.initialize`.
        prior: for maximum a posteriori, as to :class:`pyro_ugmm.em.EMFitter`.
        decay: of :meth:`partial_fit`, as to :class:`pyro_ugmm.em.StepwiseEM`.
        batch_size: likewise, the least rows for a step.
        device: the torch device to fit on; by default, that of a tensor, else the processor.
        missing: what NaN means: an ``"error"``, or an entry to ``"marginalize"``.
        group: the processes that fit together, as to :class:`pyro_ugmm.em.EMFitter`.
        engine: who takes the steps of EM, likewise.
        frozen: what stays as the start has it, likewise; with ``means_init``, means that are known.
        background: what rows of outliers are of, as to :meth:`pyro_ugmm.em.EMFitter.fit`. Their
            component is then -1, as ``predict`` says, and of probabilities theirs is the last.
            ``background_`` is the mixture beside it.

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
        warm_start=False,
        verbose=0,
        verbose_interval=10,
        rank=None,
        prior=None,
        decay=0.7,
        batch_size=256,
        device=None,
        missing="error",
        group=None,
        engine="auto",
        frozen=None,
        background=None,
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
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.rank = rank
        self.prior = prior
        self.decay = decay
        self.batch_size = batch_size
        self.device = device
        self.missing = missing
        self.group = group
        self.engine = engine
        self.frozen = frozen
        self.background = background

    @as_one
    @full_precision
    def fit(self, X, y=None, sample_weight=None, *, labels=None, noise=None) -> Self:
        """Fits the mixture to rows ``(n, D)``, which may have weights ``(n,)``, and of which the
        component or the error of measurement may be known, as to
        :class:`pyro_ugmm.em.EMFitter`.
        """
        warm = check_flag("warm_start", self.warm_start) and self.__sklearn_is_fitted__()
        stepwise, fitter = self._stepwise(), self._fitter(self.max_iter)
        table, count = self._table(X, is_first=True)
        start = last_fit(self, table) if warm else first_start(self, table, sample_weight, labels)
        known = {"labels": labels, "noise": noise, "background": self.background}
        result = fitter.fit(table, start, sample_weight, **known)
        if fitter.max_iter and not result.converged:
            warnings.warn(result.reason, ConvergenceWarning, stacklevel=4)
        if sample_weight is not None:
            (count,) = all_reduce([as_vector("sample_weight", sample_weight).double().sum()])
        self.background_ = result.background
        self.result_, self.stepwise_ = result, stepwise.init(result.mixture, float(count))
        self.converged_, self.n_iter_ = result.converged, result.n_iter
        self.lower_bound_, self.lower_bounds_ = result.objective, result.history.tolist()
        self._keep(result.mixture, X)
        return self

    @as_one
    @full_precision
    def partial_fit(self, X, y=None, sample_weight=None) -> Self:
        """Goes on with rows that come by once, by a step of :class:`pyro_ugmm.em.StepwiseEM`.

        The first call starts from its rows, of which it needs as many as there are components; one
        after :meth:`fit` goes on from there. ``lower_bound_`` is of the last step's rows under the
        mixture before it.
        """
        expected = "None, as steps on rows that come by once have none"
        check(self.background is None, "background", expected, self.background)
        is_first = not self.__sklearn_is_fitted__()
        stepwise = self._stepwise()
        table, _ = self._table(X, is_first)
        if is_first:
            start = first_start(self, table, sample_weight)
            best = self._fitter(0).fit(table, start, sample_weight).mixture
            self.stepwise_ = stepwise.init(best)
        self.stepwise_ = state = stepwise.step(self.stepwise_, table, sample_weight)
        self.converged_, self.n_iter_ = False, state.n_steps
        self.lower_bound_ = state.log_likelihood.item()
        if is_first or state.waiting is None:
            self._keep(state.mixture, X)
        return self

    def fit_predict(self, X, y=None, sample_weight=None) -> np.ndarray:
        """Fits, and returns the most probable component of each row."""
        return self.fit(X, sample_weight=sample_weight).predict(X)

    def _fitter(self, max_iter: int) -> EMFitter:
        names = ("tol", "reg_covar", "prior", "group", "engine", "frozen")
        settings = {name: getattr(self, name) for name in names}
        fitter = EMFitter(**settings, max_iter=max_iter, progress=False)
        stopping = spoken(fitter.tol, self.verbose, self.verbose_interval)
        return replace(fitter, stopping=stopping)

    def _stepwise(self) -> StepwiseEM:
        names = "decay", "batch_size", "reg_covar", "prior", "frozen"
        return StepwiseEM(**{name: getattr(self, name) for name in names})
