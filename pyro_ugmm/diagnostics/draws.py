"""Draws from a fitted guide, and what the model makes of them."""

import contextlib
from collections.abc import Callable, Iterator

import pyro
import pyro.poutine as poutine
import torch
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor

from ..checks import check_integer
from ..models import UGMMClassifier
from ..training import training_mode

__all__ = ["class_probabilities", "evaluation", "log_density", "vectorized_trace"]

_DRAWS_DIM = -2  # to the left of the rows


@contextlib.contextmanager
def evaluation(model: torch.nn.Module, seed: int | None) -> Iterator[None]:
    """Turns dropout and gradients off within, and seeds torch's generators if there is a seed."""
    with (
        training_mode(model, False),
        torch.no_grad(),
        torch.random.fork_rng(enabled=seed is not None),
    ):
        if seed is not None:
            torch.manual_seed(seed)
        yield


def vectorized_trace(
    program: Callable,
    num_samples: int,
    x: Tensor,
    y: Tensor | None = None,
    latent: poutine.Trace | None = None,
) -> poutine.Trace:
    """Traces one run of a model or guide that makes all draws at once.

    Values have a leading dimension of ``num_samples`` and one for the rows, of length one in the
    latent sites. With ``latent``, a guide's trace, the latent sites take their values from it.
    """
    check_integer("num_samples", num_samples)
    program = pyro.plate("_draws", num_samples, dim=_DRAWS_DIM)(program)
    if latent is not None:
        program = poutine.replay(program, trace=latent)
    return prune_subsample_sites(poutine.trace(program).get_trace(x, y))


def log_density(trace: poutine.Trace, num_samples: int) -> Tensor:
    """Sums the log densities of all sites of a vectorized trace per draw: shape ``(S,)``."""
    trace.compute_log_prob()
    total = torch.zeros(())
    for site in trace.nodes.values():
        if site["type"] == "sample":
            log_prob = site["log_prob"]
            shape = torch.broadcast_shapes(log_prob.shape, (num_samples, 1))
            total = total.to(log_prob) + log_prob.expand(shape).sum(-1)
    return total


def class_probabilities(
    model: UGMMClassifier,
    guide: Callable,
    x: Tensor,
    num_samples: int = 500,
    seed: int | None = None,
) -> Tensor:
    r"""Evaluates the class probabilities of each row under each of a guide's draws.

    Their mean over the draws, :math:`\mathbb{E}_q[p(y \mid x, \theta)]`, is the posterior
    predictive; their spread is the part of its uncertainty that more data would remove.

    Args:
        model: the model.
        guide: its fitted guide.
        x: features, shape ``(n, K)``.
        num_samples: the number of draws ``S``.
        seed: for the draws; torch's generator is used, and left alone if given.

    Returns:
        Probabilities, shape ``(S, n, C)``; NaN in rows whose scores overflow.
    """
    model.check_data(x)
    with evaluation(model, seed):
        trace = vectorized_trace(guide, num_samples, x)
        draws = {site: trace.nodes[site]["value"] for site in model.site_distributions()}
        return model.scores(x, draws).softmax(-1).expand(num_samples, len(x), -1)
