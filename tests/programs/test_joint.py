"""The log joint density of programs of a user's own: by hand, and our models' by their own way."""

import warnings

import pytest
import torch

from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.programs.joint import joint_of
from tests.programs.regressions import PROGRAMS, SIGMA, TAU, X, Y

W = torch.randn(7, 3, generator=torch.Generator().manual_seed(1))
by_program = pytest.mark.parametrize("program", [*PROGRAMS])


def joint_by_hand(w):
    prior = torch.distributions.Normal(0.0, TAU).log_prob(w).sum(-1)
    return prior, torch.distributions.Normal(w @ X.mT, SIGMA).log_prob(Y)


@by_program
def test_of_one_draw(program):
    joint = joint_of(PROGRAMS[program](), (X, Y))
    prior, terms = joint_by_hand(W[0])
    torch.testing.assert_close(joint.log_prior({"w": W[0]}), prior)
    torch.testing.assert_close(joint.row_terms(X, Y, draws={"w": W[0]}), terms)


@by_program
@pytest.mark.parametrize("n_draws", [1, 7])
def test_of_many_draws(program, n_draws):
    joint = joint_of(PROGRAMS[program](), (X, Y))
    prior, terms = joint_by_hand(W[:n_draws])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if program == "with a branch" else "error")
        torch.testing.assert_close(joint.log_prior({"w": W[:n_draws]}), prior)
        torch.testing.assert_close(joint.row_terms(X, Y, draws={"w": W[:n_draws]}), terms)


def test_it_says_where_draws_are_looped_over():
    joint = joint_of(PROGRAMS["with a branch"](), (X, Y))
    with pytest.warns(UserWarning, match="torch.vmap cannot run the model"):
        joint.log_prior({"w": W})


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    ],
    ids=["device", "processor"],
)
def test_where_memory_is_short_fewer_draws_are_run_at_once(error, monkeypatch, recwarn):
    vmap, most, sizes = torch.vmap, 3, []

    def short_of_memory(function, *, chunk_size, **options):
        sizes.append(chunk_size)
        if chunk_size > most:
            raise error
        return vmap(function, chunk_size=chunk_size, **options)

    joint = joint_of(PROGRAMS["without size"](), (X, Y))
    expected = joint.log_prior({"w": W})
    monkeypatch.setattr(torch, "vmap", short_of_memory)
    torch.testing.assert_close(joint.log_prior({"w": W}), expected)
    assert sizes[0] == len(W) and 1 < sizes[-1] <= most
    most = 0
    with pytest.raises(RuntimeError, match="memory"):
        joint.log_prior({"w": W})
    assert not recwarn


def test_of_one_feature_which_would_broadcast():
    """Draws ``(S, 1)`` times rows ``(n, 1)`` make a shape that nobody meant."""
    joint = joint_of(PROGRAMS["without size"](), (X[:, :1], Y))
    terms = joint.row_terms(X[:, :1], Y, draws={"w": W[:, :1]})
    expected = torch.distributions.Normal(W[:, :1] @ X[:, :1].mT, SIGMA).log_prob(Y)
    torch.testing.assert_close(terms, expected)


OURS = {
    "mixture": lambda: (BayesianGaussianMixture(2, 3), (X,)),
    "tied": lambda: (BayesianGaussianMixture(2, 3, "tied"), (X,)),
    "network": lambda: (
        UGMMClassifier(UGMMNetwork([3, 4, 2]), Priors(weights=1.0)),
        (X, (Y > 0).long()),
    ),
}


@pytest.mark.parametrize("ours", OURS)
def test_of_our_models_as_plain_programs(ours):
    torch.manual_seed(0)
    model, rows = OURS[ours]()
    plain, draws = joint_of(lambda *data: model(*data), rows), model.sample_prior(5)
    torch.testing.assert_close(plain.log_prior(draws), model.log_prior(draws))
    expected = model.row_terms(*rows, draws=draws)
    torch.testing.assert_close(plain.row_terms(*rows, draws=draws), expected)


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        ({}, "model: expected the same latent sites .'w'. at every run, got "),
        ({"w": W, "v": W}, "model: expected the same latent sites .'w'. at every run, got "),
        ({"w": W[:, :2]}, "draws: expected values of shapes"),
        ({"w": W[None]}, "draws: expected values of shapes"),
    ],
)
def test_draws_that_do_not_fit_are_refused(draws, message):
    joint = joint_of(PROGRAMS["with size"](), (X, Y))
    with pytest.raises(ValueError, match=message):
        joint.log_prior(draws)
