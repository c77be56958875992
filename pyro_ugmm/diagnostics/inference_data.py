"""Posterior draws as ArviZ's InferenceData."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyro
from pyro.infer import MCMC
from torch import Tensor

from ..checks import check, check_integer
from ..models.base import BayesianModel
from ..precision import full_precision
from ..tables import Table, as_table
from .arviz_interface import make_inference_data
from .draws import evaluation, in_blocks, posterior_draws
from .importance import pareto_k

if TYPE_CHECKING:
    from .arviz_interface import InferenceData

__all__ = ["to_inference_data"]


def _coords_of(table: Table, dims: Sequence[str]) -> dict[str, Sequence[Any]]:
    """The names of a data frame's columns, by their dimension, if they tell columns apart."""
    names = table.labels or ()
    is_named = len(dims) > 1 and len(set(names)) == len(names) > 0
    return {dims[1]: names} if is_named else {}


def _check_coords(coords: Mapping[str, Sequence[Any]], model: BayesianModel, x: Tensor) -> None:
    """Checks that there are as many labels along each dimension as it is long."""
    shapes = {site: prior.shape() for site, prior in model.site_distributions().items()}
    shapes |= {"x": x.shape, "y": x.shape[:1]}
    lengths = {
        name: length
        for site, names in model.dims().items()
        for name, length in zip(names, shapes[site], strict=False)
    }
    unknown = sorted(set(coords) - set(lengths))
    check(not unknown, "coords", f"dimensions among {sorted(lengths)}", unknown)
    for name, labels in coords.items():
        expected = f"{lengths[name]} labels"
        check(len(labels) == lengths[name], f"coords[{name!r}]", expected, len(labels))


@full_precision
def to_inference_data(
    model: BayesianModel,
    inference: Callable | MCMC,
    x: Any,
    y: Any = None,
    num_samples: int = 500,
    *,
    coords: Mapping[str, Sequence[Any]] | None = None,
    seed: int | None = None,
) -> "InferenceData":
    r"""Collects draws from a fitted guide, or those of MCMC, for ArviZ.

    The groups are ``prior``, ``prior_predictive``, ``posterior`` and ``posterior_predictive``;
    for a network also ``constant_data`` (the features ``x``); and given what is observed,
    ``observed_data``, ``log_likelihood`` (per row) and ``sample_stats``, which holds
    :math:`\log p(\text{data}, \theta)` as ``log_p``, with a guide :math:`\log q(\theta)` as
    ``log_q``, and what was ``diverging`` of MCMC. A score objective has no ``log_likelihood``.

    Draws from a guide are one chain, and independent: R-hat and effective sample sizes say
    nothing about how well the guide fits. What does is Pareto's k of :func:`pareto_k`, which the
    posterior's ``attrs`` hold as ``pareto_k``, with ``verdict`` in words; ``inference_method``
    says which inference made the draws.

    The dimensions are named by the model: ``component`` and ``feature`` in a mixture; ``input``,
    ``class`` and ``neuron_0``, ``neuron_1``, ... for the hidden layers, in a network;
    ``observation`` in both.

    Args:
        model: the model.
        inference: its fitted guide, or MCMC that was run on the model.
        x: features, or the rows of a mixture, shape ``(n, K)``: a tensor, an array or a data frame.
        y: labels, shape ``(n,)``, for a network.
        num_samples: the number of draws from the guide, and from the prior.
        coords: labels along dimensions, such as ``{"input": feature_names}``; those of features
            are by default the names of a data frame's columns.
        seed: for the draws; torch's generator is used, and left alone if given.

    Raises:
        ValueError: if the data do not fit the model, the model has no priors, or the inference
            misses one of its sites.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import to_inference_data
        >>> from pyro_ugmm.guides import mean_field
        >>> from pyro_ugmm.models import Priors, UGMMClassifier
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> model = UGMMClassifier(UGMMNetwork([4, 8, 3]), Priors())
        >>> x, y = torch.randn(20, 4), torch.arange(20) % 3
        >>> idata = to_inference_data(model, mean_field(model), x, y, num_samples=100)
        >>> idata.posterior["layers.0.loc"].dims
        ('chain', 'draw', 'neuron_0', 'input')
    """
    check(isinstance(model, BayesianModel), "model", "a BayesianModel", type(model).__name__)
    table = as_table("x", x)
    data = tuple(part.detach() for part in model.check_data(table, y))
    num_samples = check_integer("num_samples", num_samples)
    given, observed = model.split_data(*data)
    dims = model.dims()
    coords = _coords_of(table, dims["x"]) | dict(coords or {})
    _check_coords(coords, model, data[0])
    n_rows = len(data[0])
    values_per_draw = n_rows * model.values_per_row
    is_column = data[-1].dim() > len(dims[model.observed])  # of one feature, without its dimension

    def of_rows(values: Tensor) -> Tensor:
        return values.squeeze(-1) if is_column else values

    def predictive(values: dict[str, Tensor]) -> Tensor:
        rows = model.observation(given, values)
        return of_rows(rows.expand((len(next(iter(values.values()))), n_rows)).sample())

    with evaluation(model, seed):
        drawn = posterior_draws(model, inference, num_samples, *data)

        def by_chain(values: Any) -> np.ndarray:
            array = values.cpu().numpy() if isinstance(values, Tensor) else values
            return array.reshape(drawn.n_chains, -1, *array.shape[1:])

        def latent(values: dict[str, Tensor]) -> dict[str, np.ndarray]:
            return {site: value.squeeze(1).cpu().numpy() for site, value in values.items()}

        prior = {site: p.sample((num_samples, 1)) for site, p in model.site_distributions().items()}
        replicated = {"prior_predictive": prior, "posterior_predictive": drawn.values}
        found = {
            group: in_blocks(predictive, values, values_per_draw)
            for group, values in replicated.items()
        }
        groups = {
            "prior": {site: value[None] for site, value in latent(prior).items()},
            "prior_predictive": {model.observed: found["prior_predictive"][None]},
            "posterior": {site: by_chain(value) for site, value in latent(drawn.values).items()},
            "posterior_predictive": {model.observed: by_chain(found["posterior_predictive"])},
        }
        statistics = {"diverging": drawn.diverging}
        if isinstance(given, Tensor):
            groups["constant_data"] = {"x": given.cpu().numpy()}
        if observed is not None:
            terms = in_blocks(
                lambda values: model.observation(given, values).log_prob(observed),
                drawn.values,
                values_per_draw,
            )
            log_prior = model.log_prior(drawn.values).cpu().numpy()
            statistics["log_p"] = log_prior + terms.sum(-1, dtype=np.float64)
            if drawn.log_q is not None:
                statistics["log_q"] = drawn.log_q
            if model.has_likelihood:
                groups["log_likelihood"] = {model.observed: by_chain(terms)}
            groups["observed_data"] = {model.observed: of_rows(observed).cpu().numpy()}
        groups["sample_stats"] = {name: by_chain(value) for name, value in statistics.items()}
    idata = make_inference_data(groups, coords=coords, dims=dims)
    library = {"inference_library": "pyro-ppl", "inference_library_version": pyro.__version__}
    idata.posterior.attrs |= library | drawn.attributes
    if observed is not None and drawn.log_q is not None:
        k, verdict = pareto_k(idata)
        idata.posterior.attrs |= {"pareto_k": k, "verdict": verdict}
    return idata
