"""What is asked of a fitted mixture behind scikit-learn's interface: rows, densities, draws."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn import get_config
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from ..checks import check, check_device, check_integer, check_precision
from ..distributions import BackgroundMixture, GaussianMixture
from ..missing_values import mixture_rule
from ..processes import all_reduce, is_distributed
from ..randomness import generator_for
from ..tables import Table, as_table

__all__ = ["FittedMixture", "seed_of"]


class FittedMixture(DensityMixin, BaseEstimator):
    """Methods of ``sklearn.mixture.GaussianMixture`` that ask what was fitted.

    Attributes:
        mixture_: the fitted distribution.
        n_components: how many.
        device: where to fit; by default, where a tensor is, else the processor.
        missing: what NaN among rows means.
        random_state: what draws come from.
    """

    mixture_: GaussianMixture
    n_components: int
    device: Any
    missing: str
    random_state: Any

    def _rows(self, X, *, reset: bool, at_least: int = 1) -> Table:
        """Checks rows as scikit-learn does; names of columns are kept for messages."""
        if not reset and self._is_plainly_right(X):
            return as_table("X", X)
        may_miss = mixture_rule(self.missing).takes_nan
        options: dict[str, Any] = {
            "dtype": [np.float64, np.float32],
            "ensure_all_finite": "allow-nan" if may_miss else True,
            "ensure_min_samples": at_least,
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

    def _table(self, X: Any, is_first: bool) -> tuple[Table, Tensor]:
        """Rows where they are fitted, and their number in all processes."""
        n_components = check_integer("n_components", self.n_components)
        mixture_rule(self.missing)
        device = _device_for(X, self.device)
        at_least = 0 if is_distributed() else 1 + is_first
        table = self._rows(X, reset=is_first, at_least=at_least)
        (count,) = all_reduce([torch.tensor([len(table.values)], device="cpu")])
        least = max(n_components, 2) if is_first else 1
        expected = f"at least {least} rows, to fit n_components={n_components}"
        check(count >= least, "X", expected, f"{int(count)}")
        values = table.values.to(device) if is_first else table.values.to(self.mixture_.means)
        return replace(table, values=values, is_tensor=True), count

    def _is_plainly_right(self, X) -> bool:
        """Whether new rows need none of scikit-learn's checks, which take longer than few rows."""
        has_its_form = (
            type(X) is np.ndarray
            and X.dtype in (np.float64, np.float32)
            and X.ndim == 2
            and len(X) > 0
            and X.shape[1] == self.n_features_in_
            and not hasattr(self, "feature_names_in_")
        )
        with np.errstate(over="ignore", invalid="ignore"):
            return has_its_form and bool(np.isfinite(X.sum()))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = mixture_rule(self.missing).takes_nan
        return tags

    def _evaluate(self, method: str, X) -> Any:
        """Asks the mixture of rows."""
        if not self.__sklearn_is_fitted__():  # which is all that is asked, in a tenth of the time
            check_is_fitted(self)
        return self._ask(self._distribution, method, X)

    @property
    def _distribution(self) -> GaussianMixture | BackgroundMixture:
        """What rows come from."""
        background = getattr(self, "background_", None)
        return self.mixture_ if background is None else background

    def _ask(self, mixture: GaussianMixture | BackgroundMixture, method: str, X) -> Any:
        """Evaluates rows in the more precise of their dtype and a mixture's."""
        values, means = self._rows(X, reset=False).values, mixture.means
        dtype = torch.promote_types(values.dtype, means.dtype)
        mixture = mixture if dtype == means.dtype else mixture.to(dtype)
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

    def sample(self, n_samples=1) -> tuple[np.ndarray, np.ndarray]:
        """Draws rows and the component of each, from ``random_state``."""
        check_is_fitted(self)
        count = check_integer("n_samples", n_samples)
        generator = generator_for(seed_of(self.random_state), self.mixture_.means.device)
        x, component = self._distribution.sample_with_component((count,), generator=generator)
        return _as_it_came(x, self.means_), _as_it_came(component, self.means_)

    def aic(self, X) -> float:
        """Akaike's criterion for rows; the lower the better."""
        return self._evaluate("aic", X)

    def bic(self, X) -> float:
        """The Bayesian criterion for rows; the lower the better."""
        return self._evaluate("bic", X)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "mixture_")

    def _keep(self, mixture: GaussianMixture, X: Any) -> None:
        """Makes a mixture the fitted one, of rows ``X``."""
        self.mixture_, theirs = mixture, mixture.to_sklearn()
        for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
            setattr(self, name, _as_it_came(torch.from_numpy(getattr(theirs, name)), X))


def seed_of(random_state: Any) -> int:
    """Draws a seed from what scikit-learn takes as ``random_state``."""
    expected = "a seed, a RandomState, or None"
    is_flag = isinstance(random_state, bool | np.bool_)
    check(not is_flag, "random_state", expected, random_state)
    try:
        state = check_random_state(random_state)
    except (ValueError, TypeError):
        raise ValueError(f"random_state: expected {expected}, got {random_state!r}") from None
    return int(state.randint(np.iinfo(np.int32).max))


def _device_for(X: Any, device: Any) -> torch.device:
    given = check_device("device", device)
    here = X.device if isinstance(X, Tensor) else torch.device("cpu")
    return here if given is None else given


def _as_it_came(value: Tensor, X: Any) -> Any:
    """As scikit-learn does: tensors for tensors if it dispatches on arrays, else arrays."""
    dispatches = isinstance(X, Tensor) and get_config()["array_api_dispatch"]
    return value.to(X.device) if dispatches else value.cpu().numpy()
