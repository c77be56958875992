"""How many components, in which structure: a table of fits and their criteria."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

from ..accumulation import double, double_device
from ..checks import check, check_choice, check_flag, check_integer, check_seed
from ..distributions.covariance import STRUCTURES
from ..missing_values import mixture_rule
from ..precision import full_precision
from ..processes import all_reduce, together
from ..progress_bars import progress_bar
from ..sources import source_of
from .fitter import EMFitter
from .initialization import initialize
from .result import EMResult
from .rows import Rows
from .untracked import untracked

__all__ = ["Candidate", "Selection", "select"]

_CRITERIA = ("bic", "aic", "icl")
_UNSOUND = ("collapsed", "singular", "underdetermined")
_EVIDENCE = "evidence"


@dataclass(frozen=True)
class Candidate:
    r"""One fit of a selection.

    Attributes:
        n_components: how many it has.
        covariance: its structure.
        rank: of a structure that has one.
        log_likelihood: of all rows, in nats.
        n_parameters: free ones.
        bic: :math:`p \log n - 2 \log L`; the lower the better, as all three.
        aic: :math:`2 p - 2 \log L`.
        icl: the integrated completed likelihood, bic plus twice the entropy of the
            responsibilities: it asks for components that do not overlap.
        result: the fit.
        sample: from the posterior of the Bayesian mixture, where the criterion is the evidence.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import select
        >>> selection = select(torch.randn(100, 2), n_components=[1, 2], seed=0)
        >>> first = selection.table[0]
        >>> first.n_components, first.covariance, first.n_parameters, first.unsound
        (1, 'full', 5, ())
    """

    n_components: int
    covariance: str
    log_likelihood: float
    n_parameters: int
    bic: float
    aic: float
    icl: float
    result: EMResult
    rank: int | None = None
    sample: Any = None

    @property
    def structure(self) -> str:
        """The structure of the covariances in words, with the rank if it has one."""
        return self.covariance if self.rank is None else f"{self.covariance} {self.rank}"

    @property
    def evidence(self) -> float:
        r""":math:`-2 \log p(x)`, which the bic approximates; infinite where it is not known."""
        log_evidence = math.nan if self.sample is None else self.sample.log_evidence
        return -2 * log_evidence if math.isfinite(log_evidence) else math.inf

    @property
    def unsound(self) -> tuple[str, ...]:
        """What befell components that makes the likelihood high for no good reason."""
        kinds = {finding.kind for finding in self.result.findings}
        return tuple(kind for kind in _UNSOUND if kind in kinds)


@dataclass(frozen=True, repr=False)
class Selection:
    """The fits of :func:`select`, and the best by the criterion asked for.

    Attributes:
        table: the candidates, in the order they were fitted.
        best: the one with the lowest criterion, of those without collapsed or singular components
            if there are any: near such a component the likelihood has no bound. (The evidence has
            one, and needs no exception.)
        criterion: by which the best was chosen.
        interrupted: whether the keyboard ended it before all were fitted.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import select
        >>> selection = select(torch.randn(100, 2), n_components=[1, 2], seed=0)
        >>> len(selection.table), selection.criterion, selection.best.result.mixture.n_features
        (2, 'bic', 2)
        >>> selection.plot().get_ylabel()
        'BIC (lower is better)'
    """

    table: tuple[Candidate, ...]
    best: Candidate
    criterion: str
    interrupted: bool = False

    @property
    def probabilities(self) -> tuple[float, ...]:
        """Of the candidates given the data, all alike before, where the criterion is the evidence.

        :func:`~pyro_ugmm.sampling.compare_evidence` of their samples has them with errors, and with
        other probabilities before.
        """
        check(self.criterion == _EVIDENCE, "criterion", "'evidence'", repr(self.criterion))
        halves = torch.tensor(
            [-0.5 * row.evidence for row in self.table], dtype=torch.float64, device="cpu"
        )
        return tuple(halves.softmax(0).tolist())

    def __repr__(self) -> str:
        by_evidence = self.criterion == _EVIDENCE
        head = f"{'covariance':<11}{'components':>11}{'log L':>13}{'p':>7}"
        head += "".join(f"{name:>13}" for name in _CRITERIA)
        lines = [head + (f"{'log evidence':>14}{'':>9}{'probability':>13}" if by_evidence else "")]
        for i, row in enumerate(self.table):
            line = f"{row.structure:<11}{row.n_components:>11}{row.log_likelihood:>13.1f}"
            line += f"{row.n_parameters:>7}"
            line += "".join(f"{getattr(row, name):>13.1f}" for name in _CRITERIA)
            if by_evidence:
                line += f"{row.sample.log_evidence:>14.2f} ± {row.sample.log_evidence_error:<6.2f}"
                line += f"{self.probabilities[i]:>13.3f}"
            notes = [f"best by {self.criterion}"] if row is self.best else []
            notes += [] if row.result.converged else ["not converged"]
            notes += [] if not by_evidence or row.sample.converged else ["sample not converged"]
            lines.append(f"{line}  {', '.join([*notes, *row.unsound])}")
        if self.interrupted:
            lines.append("interrupted: the fits that were left are not in the table")
        return "\n".join(line.rstrip() for line in lines)

    def plot(self, *, ax: Any = None) -> Any:
        """Draws the criterion against the number of components, and returns the axes.

        It is :func:`~pyro_ugmm.plots.plot_selection`.
        """
        from ..plots.selection import plot_selection

        return plot_selection(self, ax=ax)


@full_precision
def select(
    x: Any,
    n_components: int | Iterable[int] = range(1, 11),
    covariance: str | Iterable[str] = "full",
    *,
    rank: int | Iterable[int] | None = None,
    criterion: Any = "bic",
    fitter: EMFitter | None = None,
    n_init: int = 1,
    seed: int | None = None,
    sample_weight: Any = None,
    missing: str | None = None,
    background: Any = None,
    progress: bool = True,
) -> Selection:
    """Fits mixtures of several sizes and structures, and returns a table and the best.

    Interrupted by the keyboard, it returns the fits that were done, if there are any. Where
    ``torch.distributed`` is initialized, each process gives its own rows, and all get the table for
    the rows of all, as the fitter's ``group`` says.

    Args:
        x: rows ``(n, D)``, as for :meth:`EMFitter.fit`.
        n_components: the number of components, or several to try.
        covariance: the structure, or several to try.
        rank: of ``"low_rank"``, or several to try.
        criterion: ``"bic"``, ``"aic"`` or ``"icl"``, by which the best is chosen; or
            ``"evidence"``, for which the posterior of a Bayesian mixture of each is sampled beside
            the fit, some seconds each: it knows how likely each number is, given the priors, where
            components overlap and rows are few. :class:`~pyro_ugmm.sampling.Evidence` takes priors
            of one's own. It needs the rows in memory, without weights, in one process, and a
            structure that has priors.
        fitter: the settings of the fits.
        n_init: the restarts of each.
        seed: for the starts.
        sample_weight: the rows' weights, shape ``(n,)``.
        missing: what NaN means: ``"error"`` or ``"marginalize"``; by default, what it means to the
            fitter.
        background: what rows may be of beside the components, as to :meth:`EMFitter.fit`.
        progress: whether to show a progress bar on runs of more than a second.

    Raises:
        ValueError: if a criterion or structure is unknown or does not fit, or as fitting does.

    Source: Schwarz (1978) for the BIC, Akaike (1974) for the AIC, Biernacki, Celeux and Govaert
    (2000), *Assessing a mixture model for clustering with the integrated completed likelihood*.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import select
        >>> x = torch.cat([torch.randn(100, 2) - 4, torch.randn(100, 2) + 4])
        >>> select(x, n_components=range(1, 4), seed=0).best.n_components
        2
    """
    fitter = EMFitter(progress=False) if fitter is None else fitter
    table: list[Candidate] = []
    interrupted = False
    with together(getattr(fitter, "group", None)) as processes:
        check(isinstance(fitter, EMFitter), "fitter", "an EMFitter", type(fitter).__name__)
        judge = _judge(criterion)
        criterion = criterion if judge is None else _EVIDENCE
        trials = _trials(n_components, covariance, rank)
        options = {"n_init": check_integer("n_init", n_init), "seed": check_seed("seed", seed)}
        check_flag("progress", progress)
        missing = (fitter.missing or "error") if missing is None else missing
        mixture_rule(missing)
        asked = [tuple(trial) for trial in trials]
        processes.agree({"criterion": criterion, "covariance, rank and n_components": asked})
        if judge is not None:
            check(sample_weight is None, "sample_weight", "None, by evidence", "weights")
            check(background is None, "background", "None, by evidence", background)
            check(processes.size == 1, "criterion", "'bic', in several processes", "'evidence'")
            models = judge.models(x, trials, missing)
        given, x = x, source_of(x)
        try:
            for i, trial in enumerate(progress_bar(trials, desc="select", shown=progress)):
                given_beside = {"sample_weight": sample_weight, "background": background}
                one = _fit(replace(fitter, missing=missing), x, trial, given_beside, options)
                if judge is not None:
                    one = replace(one, sample=judge.sample(models[i], given, options["seed"]))
                    if one.sample.interrupted:
                        raise KeyboardInterrupt
                table.append(one)
        except KeyboardInterrupt:
            if not table or processes.size > 1:
                raise
            interrupted = True
    sound = [row for row in table if judge is not None or not row.unsound]
    best = min(sound or table, key=lambda row: getattr(row, criterion))
    return Selection(tuple(table), best, criterion, interrupted)


def _judge(criterion: Any) -> Any:
    """What samples posteriors, where the criterion is the evidence; None where it is EM's."""
    if hasattr(criterion, "models") and hasattr(criterion, "sample"):
        return criterion
    if check_choice("criterion", criterion, (*_CRITERIA, _EVIDENCE)) != _EVIDENCE:
        return None
    from ..sampling import Evidence  # from a floor above, as plots are

    return Evidence()


class _Trial(NamedTuple):
    covariance: str
    n_components: int
    rank: int | None


def _trials(n_components: Any, covariance: Any, rank: Any) -> list[_Trial]:
    """Checks what to try, and returns it in order."""
    structures, sizes, ranks = map(_several, (covariance, n_components, rank))
    check(structures, "covariance", "at least one structure", "none")
    check(sizes, "n_components", "at least one number of components", "none")
    check(ranks, "rank", "at least one rank, or None", "none")
    names = [check_choice("covariance", name, STRUCTURES) for name in structures]
    ranked = [name for name in names if STRUCTURES[name].has_rank]
    expected = f"None, as {', '.join(map(repr, names))} covariances have none"
    check(ranked or rank is None, "rank", expected, rank)
    return [
        _Trial(name, check_integer("n_components", size), one)
        for name in names
        for one in ([check_integer("rank", r) for r in ranks] if name in ranked else [None])
        for size in sizes
    ]


def _several(value: Any) -> list[Any]:
    is_several = isinstance(value, Iterable) and not isinstance(value, str | bytes)
    return list(value) if is_several and getattr(value, "ndim", 1) != 0 else [value]


def _fit(
    fitter: EMFitter, x: Any, trial: _Trial, given: dict[str, Any], options: dict[str, Any]
) -> Candidate:
    missing, sample_weight = fitter.missing or "error", given["sample_weight"]
    shared = {"reg_covar": fitter.reg_covar, "prior": fitter.prior, "group": fitter.group}
    weighted = {"sample_weight": sample_weight, "missing": missing}
    start = initialize(x, **trial._asdict(), **weighted, **shared, **options)
    result = fitter.fit(x, start, **given)
    if result.interrupted:
        raise KeyboardInterrupt
    return _candidate(result, trial, Rows(x, start.means, sample_weight, missing))


@untracked
def _candidate(result: EMResult, trial: _Trial, rows: Rows) -> Candidate:
    whole, unit = result.distribution, rows.normalize_weights()
    sums = torch.zeros(2, dtype=torch.float64, device=double_device(whole.means.device))
    for x, weight in rows.blocks(1 << 14):
        weight = double(torch.ones_like(x[:, 0]) if weight is None else weight)
        entropies = double(torch.special.entr(whole.responsibilities(x)).sum(-1))
        sums = sums + torch.stack([weight.sum(), entropies @ weight])
    (sums,) = all_reduce([sums])
    n_rows, entropy = (unit * sums).tolist()
    p, log_likelihood = whole.n_parameters, result.log_likelihood * n_rows
    bic = p * math.log(n_rows) - 2 * log_likelihood
    return Candidate(
        **trial._asdict(),
        log_likelihood=log_likelihood,
        n_parameters=p,
        bic=bic,
        aic=2 * (p - log_likelihood),
        icl=bic + 2 * entropy,
        result=result,
    )
