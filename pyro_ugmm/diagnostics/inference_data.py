"""Posterior draws as ArviZ's InferenceData."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyro
from pyro.infer import MCMC
from torch import Tensor

from ..checks import check, check_integer
from ..precision import full_precision
from ..programs.entry import check_program, enter
from ..sampling import PosteriorSample
from ..tables import as_table
from .answers import Answers
from .arviz_interface import make_inference_data
from .draws import PosteriorDraws, evaluation, posterior_draws
from .importance import pareto_k

if TYPE_CHECKING:
    from .arviz_interface import InferenceData

__all__ = ["to_inference_data"]


def _coords_of(table: Any, dims: Mapping[str, Sequence[str]]) -> dict[str, Sequence[Any]]:
    """The names of a data frame's columns, by their dimension, if they tell columns apart."""
    names = getattr(table, "labels", None) or ()
    of_sites = [name for site in dims.values() for name in site]
    # Rows of a single feature have no dimension for it, means have.
    along = [*dims.get("x", ())[1:2], *(["feature"] if "feature" in of_sites else [])]
    is_named = len(along) > 0 and len(set(names)) == len(names) > 0
    return {along[0]: names} if is_named else {}


def _check_coords(
    coords: Mapping[str, Sequence[Any]],
    dims: Mapping[str, Sequence[str]],
    shapes: Mapping[str, Sequence[int]],
) -> None:
    """Checks that there are as many labels along each dimension as it is long."""
    lengths = {
        name: length
        for site, shape in shapes.items()
        for name, length in zip(dims[site], shape, strict=False)
    }
    unknown = sorted(set(coords) - set(lengths))
    check(not unknown, "coords", f"dimensions among {sorted(lengths)}", unknown)
    for name, labels in coords.items():
        expected = f"{lengths[name]} labels"
        check(len(labels) == lengths[name], f"coords[{name!r}]", expected, len(labels))


@full_precision
def to_inference_data(
    model: Callable,
    inference: Callable | PosteriorSample | MCMC,
    x: Any,
    y: Any = None,
    num_samples: int = 500,
    *,
    coords: Mapping[str, Sequence[Any]] | None = None,
    seed: int | None = None,
) -> "InferenceData":
    r"""Collects draws from a fitted guide, of sequential Monte Carlo or of MCMC, for ArviZ.

    The groups are ``prior``, ``prior_predictive``, ``posterior`` and ``posterior_predictive``;
    for a network also ``constant_data`` (the features ``x``); and given what is observed,
    ``observed_data``, ``log_likelihood`` (per row) and ``sample_stats``, which holds
    :math:`\log p(\text{data}, \theta)` as ``log_p``, with a guide :math:`\log q(\theta)` as
    ``log_q``, and what was ``diverging`` of MCMC, with the ``energy`` of
    :class:`pyro_ugmm.sampling.NUTSWithEnergy`. A score objective has no ``log_likelihood``.

    Draws from a guide are one chain, and independent: R-hat and effective sample sizes say
    nothing about how well the guide fits. What does is Pareto's k of :func:`pareto_k`, which the
    posterior's ``attrs`` hold as ``pareto_k``, with ``verdict`` in words; ``inference_method``
    says which inference made the draws.

    Of a :class:`pyro_ugmm.sampling.PosteriorSample` the chains are its populations, so that R-hat,
    effective sample sizes and LOO mean what ArviZ says; its ``log_evidence``, with
    ``log_evidence_error``, and its ``verdict`` are in the ``attrs``, and how far a guide was, as
    ``moved``.

    The dimensions are named by the model: ``component`` and ``feature`` in a mixture; ``input``,
    ``class`` and ``neuron_0``, ``neuron_1``, ... for the hidden layers, in a network;
    ``observation`` in both. Of any other Pyro program they are its plates; it has a
    ``log_likelihood`` for each observed site, and its deterministic sites are among the draws.

    Args:
        model: the model: one of ours, or any Pyro program.
        inference: its fitted guide; a sample of its posterior; or MCMC that was run on the model.
        x: features, or the rows of a mixture, shape ``(n, K)``: a tensor, an array or a data frame;
            or a dictionary of all the model's arguments by name.
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
    check_program(model)
    table = x if isinstance(x, Tensor | Mapping) else as_table("x", x)
    rows = enter(model, table, y)
    num_samples = check_integer("num_samples", num_samples)
    with evaluation(model, seed):
        answers = Answers(model, rows)
        dims = answers.dims
        coords = _coords_of(table, dims) | dict(coords or {})
        _check_coords(coords, dims, answers.shapes())
        drawn = posterior_draws(model, inference, num_samples, rows)
        groups = _groups(answers, num_samples, drawn)
    idata = make_inference_data(groups, coords=coords, dims=dims)
    library = {"inference_library": "pyro-ppl", "inference_library_version": pyro.__version__}
    idata.posterior.attrs |= library | drawn.attributes
    if answers.has_observations and drawn.log_q is not None:
        k, verdict = pareto_k(idata)
        idata.posterior.attrs |= {"pareto_k": k, "verdict": verdict}
    return idata


def _groups(answers: Answers, num_samples: int, drawn: PosteriorDraws) -> dict[str, Any]:
    """The groups' variables, with dimensions for chains and draws."""

    def by_chain(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return {
            name: np.asarray(value).reshape(drawn.n_chains, -1, *value.shape[1:])
            for name, value in values.items()
        }

    prior = answers.prior(num_samples)
    groups = {
        "prior": {k: value[None] for k, value in answers.sites(prior).items()},
        "prior_predictive": {k: value[None] for k, value in answers.predictive(prior).items()},
        "posterior": by_chain(answers.sites(drawn.values)),
        "posterior_predictive": by_chain(answers.predictive(drawn.values)),
        "constant_data": answers.given,
    }
    statistics: dict[str, Any] = {"diverging": drawn.diverging}
    if drawn.energy is not None:
        statistics["energy"] = drawn.energy
    if answers.has_observations:
        statistics["log_p"], terms = answers.densities(drawn.values)
        if drawn.log_q is not None:
            statistics["log_q"] = drawn.log_q.cpu()
        if answers.joint.has_likelihood:
            groups["log_likelihood"] = by_chain(terms)
        groups["observed_data"] = answers.observed()
    groups["sample_stats"] = by_chain(statistics)
    return {name: group for name, group in groups.items() if group}
