"""Which of several models: their evidences, and how probable each is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..checks import check, check_number
from .result import PosteriorSample

__all__ = ["EvidenceTable", "ModelEvidence", "compare_evidence"]


@dataclass(frozen=True)
class ModelEvidence:
    """One model of a table.

    Attributes:
        name: of the model.
        log_evidence: the log density of the data, in nats.
        error: its standard error.
        probability: of the model, given the data, among those of the table.
        probability_error: its standard error, to first order in those of all evidences.
        sample: from the posterior.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import BayesianGaussianMixture
        >>> from pyro_ugmm.sampling import compare_evidence, sample_posterior
        >>> sample = sample_posterior(BayesianGaussianMixture(1, 1), torch.randn(20, 1), seed=0)
        >>> compare_evidence({"one": sample}).best.probability
        1.0
    """

    name: Any
    log_evidence: float
    error: float
    probability: float
    probability_error: float
    sample: PosteriorSample


@dataclass(frozen=True, repr=False)
class EvidenceTable:
    """Models, the most probable first.

    Attributes:
        rows: one for each model.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import BayesianGaussianMixture
        >>> from pyro_ugmm.sampling import compare_evidence, sample_posterior
        >>> x, one = torch.randn(20, 1), {"num_particles": 64, "seed": 0}
        >>> models = {name: BayesianGaussianMixture(1, 1, name) for name in ("full", "tied")}
        >>> samples = {k: sample_posterior(model, x, **one) for k, model in models.items()}
        >>> table = compare_evidence(samples)
        >>> len(table.rows), table.plot().get_xlabel()
        (2, 'log evidence (nats)')
    """

    rows: tuple[ModelEvidence, ...]

    @property
    def best(self) -> ModelEvidence:
        """The most probable model."""
        return self.rows[0]

    @property
    def probabilities(self) -> dict[Any, float]:
        """The probability of each model, by name."""
        return {row.name: row.probability for row in self.rows}

    def __repr__(self) -> str:
        width = max(5, *(len(str(row.name)) for row in self.rows))
        lines = [f"{'model':<{width}}{'log evidence':>14}{'':>9}{'probability':>13}"]
        for row in self.rows:
            line = f"{row.name!s:<{width}}{row.log_evidence:>14.2f} ± {row.error:<6.2f}"
            notes = [] if row.sample.converged else ["not converged"]
            notes += ["from a guide"] if row.sample.moved is not None else []
            line += f"{row.probability:>13.3f} ± {row.probability_error:.3f}  {', '.join(notes)}"
            lines.append(line.rstrip())
        return "\n".join(lines)

    def plot(self, *, ax: Any = None) -> Any:
        """Draws the evidences with their errors, and returns the axes.

        It is :func:`~pyro_ugmm.plots.plot_evidence`.
        """
        from ..plots.evidence import plot_evidence

        return plot_evidence(self, ax=ax)


def compare_evidence(
    samples: Mapping[Any, PosteriorSample], prior: Mapping[Any, float] | None = None
) -> EvidenceTable:
    r"""Says how probable each of several models of the same data is.

    .. math:: p(M_k \mid y) = \frac{p(M_k) \, p(y \mid M_k)}{\sum_j p(M_j) \, p(y \mid M_j)}

    The evidence :math:`p(y \mid M_k)` depends on the priors of a model's parameters, also where the
    posterior does not: ten times as wide a prior of one number takes about 2.3 nats. Samples that
    started from a guide know the modes that it has: of a mixture one order of its :math:`K`
    components, which takes :math:`\log K!` from the evidence, and the table says so. Compare them
    with each other, or start all from the prior.

    Args:
        samples: a sample of each model's posterior given the same data, by the model's name.
        prior: the probability of each model before the data, by name, up to a constant; all the
            same if None.

    Raises:
        ValueError: if there are none, one did not reach the posterior, so that it has no evidence,
            or the prior is of other names, or not positive.

    Source: Kass and Raftery (1995), *Bayes factors*.

    Example:
        >>> import torch
        >>> from pyro_ugmm.models import BayesianGaussianMixture, Priors
        >>> from pyro_ugmm.sampling import compare_evidence, sample_posterior
        >>> x = torch.randn(20, 1) + 10
        >>> models = {
        ...     "around 0": BayesianGaussianMixture(1, 1),
        ...     "around the data": BayesianGaussianMixture(1, 1, priors=Priors.from_data(x)),
        ... }
        >>> samples = {k: sample_posterior(model, x, seed=0) for k, model in models.items()}
        >>> compare_evidence(samples, prior={"around 0": 0.5, "around the data": 0.5}).best.name
        'around the data'
    """
    is_one = isinstance(samples, Mapping) and bool(samples)
    got = f"{type(samples).__name__}, which is no mapping or holds none"
    check(is_one, "samples", "samples of posteriors by the names of models", got)
    for name, sample in samples.items():
        _check_sample(f"samples[{name!r}]", sample)
    prior = dict.fromkeys(samples, 1.0) if prior is None else prior
    same = isinstance(prior, Mapping) and prior.keys() == samples.keys()
    check(same, "prior", f"a probability of each of {[*samples]}", str(prior))
    weights = [_check_weight(name, prior[name]) for name in samples]
    found = torch.tensor([one.log_evidence for one in samples.values()], dtype=torch.float64)
    errors = torch.tensor([one.log_evidence_error for one in samples.values()]).double()
    shares = (found + torch.tensor(weights, dtype=torch.float64).log()).softmax(0)
    slopes = shares[:, None] * (torch.eye(len(shares)) - shares)
    shares_errors = (slopes * errors).square().sum(-1).sqrt()
    numbers = zip(shares.tolist(), shares_errors.tolist(), strict=True)
    rows = [
        ModelEvidence(name, one.log_evidence, one.log_evidence_error, *share, one)
        for (name, one), share in zip(samples.items(), numbers, strict=True)
    ]
    return EvidenceTable(tuple(sorted(rows, key=lambda row: -row.probability)))


def _check_sample(name: str, sample: Any) -> None:
    is_one = isinstance(sample, PosteriorSample)
    check(is_one, name, "what sample_posterior returned", type(sample).__name__)
    is_known = math.isfinite(sample.log_evidence)
    check(is_known, name, "one that reached the posterior", sample.reason)


def _check_weight(name: Any, weight: Any) -> float:
    expected = "a positive number"
    return check_number(f"prior[{name!r}]", weight, lambda p: 0 < p < math.inf, expected)
