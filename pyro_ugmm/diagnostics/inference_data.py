"""Posterior draws as ArviZ's InferenceData."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyro
from pyro.infer import MCMC
from torch import Tensor

from ..checks import check, check_integer
from ..precision import full_precision
from ..programs.entry import check_program, enter
from ..programs.joint import LogJoint, joint_of
from ..programs.names import ObservedRows, names_of
from ..programs.simulation import simulation_of
from ..programs.sites import sites_of
from ..programs.traced import Rows
from ..tables import as_table
from .draws import evaluation, in_blocks, posterior_draws
from .importance import pareto_k

if TYPE_CHECKING:
    from arviz import InferenceData

__all__ = ["to_inference_data"]


def _coords_of(table: Any, dims: Sequence[str]) -> dict[str, Sequence[Any]]:
    """The names of a data frame's columns, by their dimension, if they tell columns apart."""
    names = getattr(table, "labels", None) or ()
    is_named = len(dims) > 1 and len(set(names)) == len(names) > 0
    return {dims[1]: names} if is_named else {}


def _check_coords(
    coords: Mapping[str, Sequence[Any]],
    dims: Mapping[str, Sequence[str]],
    shapes: Mapping[str, Sequence[int]],
) -> None:
    """Checks that there are as many labels along each dimension as it is long."""
    lengths = {
        name: length
        for site, names in dims.items()
        for name, length in zip(names, shapes[site], strict=False)
    }
    unknown = sorted(set(coords) - set(lengths))
    check(not unknown, "coords", f"dimensions among {sorted(lengths)}", unknown)
    for name, labels in coords.items():
        expected = f"{lengths[name]} labels"
        check(len(labels) == lengths[name], f"coords[{name!r}]", expected, len(labels))


@dataclass(frozen=True, eq=False)
class _Evaluated:
    """What a model makes of draws, block by block.

    Attributes:
        model: the model.
        rows: its data.
        observed: what of them is observed.
        n_dims: of a row that was observed, as it is named.
    """

    model: Callable
    rows: Rows
    observed: ObservedRows
    n_dims: int

    @cached_property
    def joint(self) -> LogJoint:
        return joint_of(self.model, self.rows)

    def _in_blocks(self, function: Callable, draws: dict[str, Tensor]) -> np.ndarray:
        return in_blocks(function, draws, len(self.rows[0]) * self.joint.values_per_row)

    def as_named(self, rows: Any, n_leading: int) -> np.ndarray:
        """Rows of one feature without its dimension, if that has no name."""
        found = rows.cpu().numpy() if isinstance(rows, Tensor) else rows
        return found[..., 0] if found.ndim - n_leading > self.n_dims else found

    def predictive(self, draws: dict[str, Tensor]) -> np.ndarray:
        """Rows drawn under each draw."""
        simulation = simulation_of(self.model, self.rows)
        return self.as_named(
            self._in_blocks(lambda some: simulation.sample_rows(*self.rows, draws=some), draws), 1
        )

    def terms(self, draws: dict[str, Tensor]) -> np.ndarray:
        """What each row adds to the log joint density under each draw."""
        return self._in_blocks(lambda some: self.joint.row_terms(*self.rows, draws=some), draws)


@full_precision
def to_inference_data(
    model: Callable,
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
    ``observation`` in both. Of any other Pyro program they are its plates.

    Args:
        model: the model: one of ours, or any Pyro program ``model(x, y)`` or ``model(x)`` whose
            rows are in a plate.
        inference: its fitted guide, or MCMC that was run on the model.
        x: features, or the rows of a mixture, shape ``(n, K)``: a tensor, an array or a data frame.
        y: labels or targets, shape ``(n,)``, for a model that takes them.
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
    from ._arviz import arviz

    check_program(model)
    table = x if isinstance(x, Tensor) else as_table("x", x)
    rows = enter(model, table, y)
    num_samples = check_integer("num_samples", num_samples)
    names = names_of(model, rows)
    observed, dims = names.observed_rows(*rows), names.dims()
    site = observed.name
    sites = sites_of(model, rows).latent_sites()
    coords = _coords_of(table, dims.get("x", ())) | dict(coords or {})
    shapes = {name: latent.shape for name, latent in sites.items()}
    shapes |= {name: part.shape for name, part in observed.given.items()}
    shapes[site] = rows[0].shape[:1] if observed.value is None else observed.value.shape
    _check_coords(coords, dims, shapes)
    model_of = _Evaluated(model, rows, observed, len(dims[site]))
    with evaluation(model, seed):
        drawn = posterior_draws(model, inference, num_samples, rows)

        def by_chain(values: Any) -> np.ndarray:
            array = values.cpu().numpy() if isinstance(values, Tensor) else values
            return array.reshape(drawn.n_chains, -1, *array.shape[1:])

        prior = simulation_of(model, rows).sample_prior(num_samples)
        groups = {
            "prior": {name: value.cpu().numpy()[None] for name, value in prior.items()},
            "prior_predictive": {site: model_of.predictive(prior)[None]},
            "posterior": {name: by_chain(value) for name, value in drawn.values.items()},
            "posterior_predictive": {site: by_chain(model_of.predictive(drawn.values))},
        }
        statistics = {"diverging": drawn.diverging}
        if observed.given:
            groups["constant_data"] = {k: part.cpu().numpy() for k, part in observed.given.items()}
        if observed.value is not None:
            terms = model_of.terms(drawn.values)
            log_prior = model_of.joint.log_prior(drawn.values).cpu().numpy()
            statistics["log_p"] = log_prior + terms.sum(-1, dtype=np.float64)
            if drawn.log_q is not None:
                statistics["log_q"] = drawn.log_q
            if model_of.joint.has_likelihood:
                groups["log_likelihood"] = {site: by_chain(terms)}
            groups["observed_data"] = {site: model_of.as_named(observed.value, 0)}
        groups["sample_stats"] = {name: by_chain(value) for name, value in statistics.items()}
    idata = arviz.from_dict(**groups, coords=coords, dims=dims)
    library = {"inference_library": "pyro-ppl", "inference_library_version": pyro.__version__}
    idata.posterior.attrs |= library | drawn.attributes
    if observed.value is not None and drawn.log_q is not None:
        k, verdict = pareto_k(idata)
        idata.posterior.attrs |= {"pareto_k": k, "verdict": verdict}
    return idata
