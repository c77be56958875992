"""Training by maximum likelihood and by stochastic variational inference."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pyro
import torch
from pyro.infer import Trace_ELBO
from pyro.nn import PyroModule
from torch import Tensor

from .checks import check, check_integer
from .models import UGMMClassifier
from .nn.local_parameters import localize
from .optimization import FitResult, Schedule, descend

__all__ = ["FitResult", "fit_mle", "fit_svi"]


@contextlib.contextmanager
def training_mode(model: torch.nn.Module, training: bool) -> Iterator[None]:
    """Puts a module and all inside it in training or evaluation mode; restores each after."""
    before = {module: module.training for module in model.modules()}
    model.train(training)
    try:
        yield
    finally:
        for module, was_training in before.items():
            module.training = was_training


def _check_training_data(model: UGMMClassifier, x: Tensor, y: Tensor) -> None:
    check(isinstance(y, Tensor), "y", "a torch tensor of labels", type(y).__name__)
    model.check_data(x, y)
    check(y.dim() == 1, "y", "shape (n,)", tuple(y.shape))


def _learnable(**parts: Any) -> dict[str, Tensor]:
    parameters = {
        f"{part}.{name}": parameter
        for part, module in parts.items()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }
    check(parameters, " and ".join(parts), "parameters that require gradients", "none")
    return parameters


def fit_mle(
    model: UGMMClassifier,
    x: Tensor,
    y: Tensor,
    *,
    steps: int = 500,
    batch_size: int | None = None,
    learning_rate: float = 0.02,
    seed: int | None = None,
    progress: bool = True,
) -> FitResult:
    r"""Maximizes the likelihood of a model without priors, over its network's own parameters.

    .. math:: \hat\theta = \arg\max_\theta \sum_i \log p(y_i \mid x_i, \theta)

    Args:
        model: a model with ``priors=None``; its network is updated in place.
        x: features, shape ``(n, K)``.
        y: labels, shape ``(n,)``.
        steps: the number of steps of Adam; the learning rate rises, falls, and stays at a
            twentieth of its peak for the last four tenths.
        batch_size: the rows of a step; all of them if None.
        learning_rate: the peak.
        seed: for dropout and batches; torch's generator is used, and left alone if given.
        progress: whether to show a progress bar (on runs of more than a second).

    Raises:
        ValueError: if the model has priors, or the data do not fit it.
    """
    check(
        not model.site_distributions(),
        "model",
        "a model without priors (fit one with priors by fit_svi)",
        f"priors={model.priors}",
    )
    _check_training_data(model, x, y)
    schedule = Schedule(steps, batch_size, learning_rate, seed, progress)

    def loss_of_rows(rows: Tensor | slice) -> Tensor:
        log_likelihood = model.log_likelihood(x[rows], y[rows])
        return -log_likelihood.sum() * (len(x) / log_likelihood.numel())

    parameters = _learnable(network=model.network)
    with training_mode(model, True), schedule.random_state():
        outcome = descend(loss_of_rows, parameters, len(x), schedule, "maximum likelihood")
    return FitResult(*outcome)


class _FunctionGuide:
    """A guide written as a function, whose ``pyro.param`` statements have a store of their own."""

    def __init__(self, function: Callable) -> None:
        self.function = function
        self.state: Any = {"params": {}, "constraints": {}}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with pyro.get_param_store().scope(self.state) as self.state:
            return self.function(*args, **kwargs)

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.state["params"].items()


def fit_svi(
    model: UGMMClassifier,
    guide: Callable,
    x: Tensor,
    y: Tensor,
    *,
    steps: int = 1000,
    batch_size: int | None = None,
    learning_rate: float = 0.1,
    num_particles: int = 1,
    seed: int | None = None,
    progress: bool = True,
) -> FitResult:
    r"""Fits a guide to the posterior of a model by maximizing the evidence lower bound.

    .. math:: \max_q \; \mathbb{E}_{q(\theta)} \bigl[\log p(y, \theta \mid x) - \log q(\theta)\bigr]

    What the model has no prior for is learnt with it. Pyro's parameter store is left as it was
    found: the parameters of a guide that is a module become its own; those of a guide that is a
    function are kept by the result's ``guide``, which is to be used in its place.

    Args:
        model: a model with priors.
        guide: a Pyro guide with the model's arguments, such as :func:`pyro_ugmm.guides.mean_field`
            makes, any of Pyro's autoguides, or one of your own.
        x: features, shape ``(n, K)``.
        y: labels, shape ``(n,)``.
        steps: the number of steps of Adam; the learning rate rises, falls, and stays at a
            twentieth of its peak for the last four tenths.
        batch_size: the rows of a step; all of them if None.
        learning_rate: the peak.
        num_particles: the draws from the guide in each step.
        seed: for the draws and batches; torch's generator is used, and left alone if given.
        progress: whether to show a progress bar (on runs of more than a second).

    Raises:
        ValueError: if the data do not fit the model, or there is nothing to train.
    """
    check(callable(guide), "guide", "a Pyro guide", type(guide).__name__)
    check_integer("num_particles", num_particles)
    _check_training_data(model, x, y)
    schedule = Schedule(steps, batch_size, learning_rate, seed, progress)
    n_rows = len(x)
    if isinstance(guide, PyroModule):
        localize(guide)
    elif not isinstance(guide, torch.nn.Module | _FunctionGuide):
        guide = _FunctionGuide(guide)
    elbo = Trace_ELBO(
        num_particles=num_particles, vectorize_particles=num_particles > 1, max_plate_nesting=1
    )

    def loss_of_rows(rows: Tensor | slice) -> Tensor:
        return elbo.differentiable_loss(model, guide, x[rows], y[rows], size=n_rows)

    with training_mode(model, True), schedule.random_state():
        with torch.no_grad():  # a guide makes its parameters when it first runs
            elbo.loss(model, guide, x[:1], y[:1], size=n_rows)
        parameters = _learnable(model=model, guide=guide)
        # Pyro has checked the model and guide once; from here on NaN is a result, not an error.
        with pyro.validation_enabled(False):
            outcome = descend(loss_of_rows, parameters, n_rows, schedule, "SVI")
    return FitResult(*outcome, guide)
