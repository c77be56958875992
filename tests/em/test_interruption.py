"""The keyboard interrupts a fit at whatever line: there is a result, and it is what it says."""

import os
import sys
from dataclasses import replace

import pytest
import torch

from pyro_ugmm import em
from pyro_ugmm.distributions import GaussianMixture
from pyro_ugmm.em import ConjugatePrior, EMFitter, algorithm, initialize, quick_fit, restarts
from pyro_ugmm.em.expectation import Expectation
from pyro_ugmm.em.native_steps import Workload
from pyro_ugmm.em.progress import Progress
from pyro_ugmm.em.recovery import Recovery

from .cases import clusters

FOLDER = os.path.dirname(em.__file__)
X = clusters(60)
START = initialize(X, 2, seed=0)
FAR = GaussianMixture(  # with a component to revive
    torch.tensor([0.5, 0.3, 0.2]).double(),
    torch.cat([START.means, torch.full((1, 3), 1e5).double()]),
    type(START.covariance)(torch.cat([START.covariance.values, START.covariance.values[:1]])),
)
PRIOR = ConjugatePrior(X.mean(0), torch.cov(X.T), covariance_strength=3)
FITS = {
    "one": (EMFitter(tol=0, max_iter=4, progress=False), START),
    "converging": (EMFitter(tol=1.0, progress=False), START),
    "five restarts": (
        EMFitter(tol=0.05, max_iter=6, progress=False),
        initialize(X, 2, method="random_from_data", n_init=5, seed=0),
    ),
    "one after the other": (
        EMFitter(tol=0, max_iter=2, progress=False),
        initialize(X, 2, "tied", n_init=3, seed=0),
    ),
    "reviving": (EMFitter(tol=0, max_iter=4, progress=False), FAR),
    "prior": (EMFitter(tol=0, max_iter=3, prior=PRIOR, progress=False), START),
}


def interrupted_at(line, call):
    """Calls with an interrupt at a line of EM, counted from where the steps begin.

    Also returns how many lines there were.
    """
    count, steps = 0, []

    def trace(frame, event, _):
        nonlocal count
        if os.path.dirname(frame.f_code.co_filename) != FOLDER:
            return None
        if frame.f_code.co_name == "run":
            steps.append(event)
        if event == "line" and steps and steps[-1] != "return":
            count += 1
            if count == line:
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        return call(), count
    finally:
        sys.settrace(None)


def assert_sound(result, fitter, start):
    assert result.history.shape == (result.n_iter,) and result.history.isfinite().all()
    assert result.interrupted
    mixture = result.mixture
    assert all(t.isfinite().all() for t in (mixture.means, mixture.covariance.values))
    if result.n_iter and fitter.prior is None:
        assert result.log_likelihood >= result.history[0] - 1e-9
    if result.reason.startswith("interrupted before"):
        assert torch.equal(mixture.means, start.means.reshape(-1, *mixture.means.shape)[0])
    else:
        expected = mixture.log_prob(X).mean().item()
        assert result.log_likelihood == pytest.approx(expected, rel=1e-9)
    assert result.report


@pytest.mark.parametrize("engine", ["torch", "auto"])
@pytest.mark.parametrize("name", FITS)
def test_there_is_a_result_wherever_the_keyboard_interrupts(name, engine, monkeypatch):
    monkeypatch.setattr(Workload, "seconds", 0)  # a call for each step
    fitter, start = FITS[name]
    fitter = replace(fitter, engine=engine)
    _, n_lines = interrupted_at(None, lambda: fitter.fit(X, start))
    # The first two lines of a run open what catches it.
    for line in [*range(3, 60), *range(60, n_lines, max(1, n_lines // 60))]:
        result, _ = interrupted_at(line, lambda: fitter.fit(X, start))
        assert_sound(result, fitter, start)


POINTS = {
    "E-step": (Expectation, "read"),
    "statistics": (Expectation, "statistics"),
    "evaluation": (Expectation, "mean_log_likelihood"),
    "M-step": (algorithm, "maximize"),
    "recovery": (Recovery, "apply"),
    "progress": (Progress, "with_ended"),
    "result": (restarts, "EMResult"),
}


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("name", FITS)
def test_whatever_the_keyboard_interrupts(point, count, name, monkeypatch):
    owner, attribute = POINTS[point]
    inner, calls = getattr(owner, attribute), []

    def interrupting(*args, **kwargs):
        calls.append(1)
        if len(calls) == count:
            raise KeyboardInterrupt
        return inner(*args, **kwargs)

    monkeypatch.setattr(owner, attribute, interrupting)
    fitter, start = FITS[name]
    result = replace(fitter, engine="torch").fit(X, start)
    if len(calls) >= count:
        assert_sound(result, fitter, start)
    else:
        assert not result.interrupted


@pytest.mark.parametrize("name", ["one", "five restarts"])
def test_of_what_one_does_not_notice_the_start_is_left(name, monkeypatch):
    def interrupting(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(quick_fit, "take_steps", interrupting)
    fitter, start = FITS[name]
    assert_sound(fitter.fit(X, start), fitter, start)


def test_the_last_mixtures_are_evaluated_in_one_reading():
    """Five restarts of six steps: seven readings."""
    fitter = EMFitter(tol=0, max_iter=6, progress=False)
    readings = []

    class Stream:
        def __iter__(self):
            readings.append(1)
            yield from X.split(30)

    starts = initialize(X, 2, method="random_from_data", n_init=5, seed=0)
    result = fitter.fit(Stream(), starts)
    assert len(readings) == 7
    alone = fitter.fit(X, starts)
    torch.testing.assert_close(result.restarts, alone.restarts)
    expected = result.mixture.log_prob(X).mean().item()
    assert result.log_likelihood == pytest.approx(expected, rel=1e-10)


def test_one_step_is_said_to_have_changed_what_it_changed():
    result = EMFitter(max_iter=1, tol=0, progress=False).fit(X, START)
    change = result.log_likelihood - result.history[0].item()
    assert f"changed the mean log-likelihood by {change:.3g}" in result.reason
    assert "inf" not in result.reason
