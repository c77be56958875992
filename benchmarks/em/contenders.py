"""The contenders: each holds its data in its own format, and does one action when called."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .cases import FLOOR, GMMX, N_ITER, OURS, REG_COVAR, SKLEARN, Contender, Point, Problem

__all__ = ["Prepared", "prepare"]

_FLOOR_BLOCK = 1024
_GMMX_BLOCK = 4096


@dataclass(frozen=True)
class Prepared:
    """What is measured.

    Attributes:
        call: does the action and waits for its end.
        outcome: says what came out: ``predictions`` or ``log_likelihood``.
        progress: of a fit, how many iterations it took and the last log-likelihood it saw, known
            without any further work.
        device_peak: the most bytes held on the accelerator so far; ``None`` on the CPU.
    """

    call: Callable[[], Any]
    outcome: Callable[[Any], dict[str, Any]]
    progress: Callable[[Any], tuple[int, float]] | None = None
    device_peak: Callable[[], int] | None = None


def prepare(contender: Contender, point: Point, problem: Problem, device: str) -> Prepared:
    """Brings data into a contender's format, and compiles what is compiled."""
    kinds = {OURS: _pyro_ugmm, SKLEARN: _scikit_learn, GMMX: _gmmx, FLOOR: _floor}
    return kinds[contender.library](point, problem, contender.precision, device)


def _torch_tensors(problem: Problem, precision: str, device: str) -> list[Any]:
    import torch

    arrays = (problem.x, problem.weights, problem.means, problem.covariances)
    return [torch.from_numpy(a).to(device, getattr(torch, precision)) for a in arrays]


def _on_torch(
    call: Callable, outcome: Callable, device: str, progress: Callable | None = None
) -> Prepared:
    """Waits for the accelerator, if there is one."""
    if device == "cpu":
        return Prepared(call, outcome, progress)
    import torch

    def synchronized() -> Any:
        result = call()
        torch.cuda.synchronize()
        return result

    torch.cuda.reset_peak_memory_stats()
    return Prepared(synchronized, outcome, progress, torch.cuda.max_memory_allocated)


def _pyro_ugmm(point: Point, problem: Problem, precision: str, device: str) -> Prepared:
    from pyro_ugmm.distributions import FullCovariance, GaussianMixture
    from pyro_ugmm.em import EMFitter

    x, weights, means, covariances = _torch_tensors(problem, precision, device)
    start = GaussianMixture(weights, means, FullCovariance(covariances))
    if point.action == "predict":
        return _on_torch(
            lambda: start.predict(x), lambda found: {"predictions": found.cpu().numpy()}, device
        )
    fitter = EMFitter(tol=0, max_iter=N_ITER, reg_covar=REG_COVAR, progress=False)

    def outcome(result: Any) -> dict[str, Any]:
        found = {"log_likelihood": result.log_likelihood}
        if result.events:
            kinds = Counter(event.kind for event in result.events)
            said = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
            found["remark"] = f"components kept alive: {said}"
        return found

    return _on_torch(
        lambda: fitter.fit(x, start),
        outcome,
        device,
        lambda result: (result.n_iter, result.log_likelihood),
    )


def _scikit_learn(point: Point, problem: Problem, precision: str, device: str) -> Prepared:
    """On the processor, whatever the device."""
    from sklearn.mixture import GaussianMixture
    from sklearn.mixture._gaussian_mixture import _compute_precision_cholesky

    arrays = (problem.x, problem.weights, problem.means, problem.covariances)
    x, weights, means, covariances = (array.astype(precision) for array in arrays)
    cholesky = _compute_precision_cholesky(covariances, "full")
    precisions = cholesky @ cholesky.swapaxes(-1, -2)
    if point.action == "predict":
        model = GaussianMixture(point.n_components)
        model.weights_, model.means_, model.covariances_ = weights, means, covariances
        model.precisions_cholesky_, model.precisions_ = cholesky, precisions
        model.n_features_in_, model.converged_ = point.n_features, True
        return Prepared(lambda: model.predict(x), lambda found: {"predictions": found})
    model = GaussianMixture(
        point.n_components,
        tol=0.0,
        max_iter=N_ITER,
        reg_covar=REG_COVAR,
        init_params="random",  # not used, since all parameters are given
        weights_init=weights,
        means_init=means,
        precisions_init=precisions,
    )
    return Prepared(
        lambda: model.fit(x),
        lambda fitted: {"log_likelihood": float(fitted.score(x))},
        lambda fitted: (fitted.n_iter_, float(fitted.lower_bound_)),
    )


def _gmmx(point: Point, problem: Problem, precision: str, device: str) -> Prepared:
    import gmmx
    import jax

    try:
        home = jax.devices("gpu" if device == "cuda" else "cpu")[0]
    except RuntimeError as error:
        raise RuntimeError(f"jax has no {device} device here: {error}") from error
    arrays = (problem.means, problem.covariances, problem.weights)
    arrays = [jax.device_put(array.astype(precision), home) for array in arrays]
    mixture = gmmx.GaussianMixtureModelJax.from_squeezed(*arrays)
    x = jax.device_put(problem.x.astype(precision), home)
    fitter = gmmx.EMFitter(tol=0, max_iter=N_ITER, reg_covar=REG_COVAR)
    # Compiled here, so that no call that is timed compiles.
    if point.action == "predict":
        compiled = gmmx.GaussianMixtureModelJax.predict.lower(mixture, x).compile()
        arguments = (mixture, x)
    else:
        compiled = gmmx.EMFitter.fit.lower(fitter, x, mixture).compile()
        arguments = (fitter, x, mixture)

    def outcome(result: Any) -> dict[str, Any]:
        if point.action == "predict":
            return {"predictions": np.asarray(result)[:, 0]}
        blocks = [x[at : at + _GMMX_BLOCK] for at in range(0, len(x), _GMMX_BLOCK)]
        total = sum(float(fitter.e_step(b, result.gmm)[0]) * len(b) for b in blocks)
        return {"log_likelihood": total / len(x)}

    def progress(result: Any) -> tuple[int, float]:
        return int(result.n_iter), float(result.log_likelihood)

    jax.block_until_ready(arguments)
    peak = (lambda: home.memory_stats()["peak_bytes_in_use"]) if device == "cuda" else None
    return Prepared(
        lambda: jax.block_until_ready(compiled(*arguments)),
        outcome,
        progress if point.action == "fit" else None,
        peak,
    )


def _floor(point: Point, problem: Problem, precision: str, device: str) -> Prepared:
    """The two matrix products of EM by sufficient statistics, and nothing else."""
    import torch

    x, *_ = _torch_tensors(problem, precision, device)
    n_features, n_components = point.n_features, point.n_components
    n_terms = 1 + n_features + n_features * (n_features + 1) // 2
    coefficients = torch.rand(n_components, n_terms).to(x)
    terms = torch.rand(n_terms, min(_FLOOR_BLOCK, len(x))).to(x)
    joint, sums = coefficients @ terms, coefficients.T.contiguous()

    def call() -> None:
        for _ in range(N_ITER):
            for _ in range(0, len(x), _FLOOR_BLOCK):
                torch.mm(coefficients, terms, out=joint)
                torch.mm(terms, joint.T, out=sums)

    return _on_torch(call, lambda _: {}, device)
