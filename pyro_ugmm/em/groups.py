"""Many small mixtures at once, one for each group of rows."""

from typing import Any

import torch
from torch import Tensor

from ..checks import check, check_choice, check_flag, check_integer, check_seed
from ..distributions import GaussianMixture
from ..distributions.covariance import STRUCTURES
from ..processes import together
from ..progress_bars import progress_bar
from ..status import Status
from .fitter import EMFitter
from .group_fits import GroupFits
from .group_starts import ByKmeans, Given
from .grouped_rows import GroupedRows
from .native_call import EXTRAORDINARY, Problems, take_steps
from .native_steps import PRODUCTS_PER_SECOND, Workload, products_per_row, unavailable
from .stopping import Tolerance
from .untracked import untracked

__all__ = ["fit_groups"]

_MOST_VALUES = 1 << 22  # of the rows' products, which are at hand at once
_LONGEST = 1.0  # in seconds, if all steps are taken


@untracked
def fit_groups(
    x: Any,
    groups: Any = None,
    n_components: int | None = None,
    covariance: str = "full",
    *,
    start: GaussianMixture | None = None,
    n_init: int = 1,
    sample_weight: Any = None,
    tol: float = 1e-3,
    max_iter: int = 100,
    reg_covar: float = 1e-6,
    seed: int | None = None,
    progress: bool = True,
) -> GroupFits:
    """Fits a mixture to each of many groups of rows by EM, thousands of them in one call.

    Each group is fitted as :class:`EMFitter` would alone, from k-means in the group, and no group
    disturbs another: one without rows, or whose rows are all the same, has a status or a collapsed
    component, and the report names it. It is computed in double precision. On a GPU, or without the
    library in C, groups are fitted one after the other.

    Components of different groups are in no common order, unless all start at one ``start``.

    Args:
        x: the rows of all groups, ``(n, D)``; or, without ``groups``, an iterable of tables, one
            for each group, of as many rows as each has.
        groups: the group of each row, integer codes from 0 to G - 1, shape ``(n,)``; a code without
            rows is a group that has none.
        n_components: how many; those of ``start`` if given.
        covariance: ``"full"``, ``"tied"``, ``"diagonal"`` or ``"spherical"``; that of ``start``.
        start: where all groups start, a mixture of batch shape ``()``; or where each does,
            ``(G,)``.
        n_init: how many starts each group has, of which the best fit comes back.
        sample_weight: non-negative weights of the rows, shape ``(n,)``.
        tol: as of :class:`EMFitter`, like the two that follow.
        max_iter: the most M-steps to take, at least one.
        reg_covar: what is added to all variances, in squared units of the data.
        seed: for the starts; by default, torch's global generator.
        progress: whether to show a progress bar on runs of more than a second.

    Returns:
        One mixture of batch shape ``(G,)``, usable as it is, with the outcome of each fit. An
        interruption by the keyboard leaves the groups that are not fitted to the result's status.

    Raises:
        ValueError: if an argument is out of its range, rows are not finite, or codes are not
            integers from zero.

    Example:
        >>> import torch
        >>> from pyro_ugmm.em import fit_groups
        >>> x, groups = torch.randn(3000, 2), torch.arange(3000) % 50
        >>> x[1500:] += 6
        >>> fits = fit_groups(x, groups, n_components=2, seed=0)
        >>> fits.mixture.batch_shape, bool(fits.converged.all())
        (torch.Size([50]), True)
    """
    check_integer("max_iter", max_iter)
    fitter = EMFitter(tol=tol, max_iter=max_iter, reg_covar=reg_covar, progress=False, group=False)
    n_init, seed = check_integer("n_init", n_init), check_seed("seed", seed)
    shown = check_flag("progress", progress)
    rows = GroupedRows.of(x, groups, sample_weight)
    starts = _starts(rows, start, n_components, covariance, n_init, reg_covar, seed)
    run = _Run(rows, starts, fitter)
    words = {"desc": "EM", "unit": " groups"}
    try:
        with together(False), progress_bar(total=len(rows), shown=shown, **words) as bar:
            for first, last in rows.chunks(run.most_rows):
                run.fit(first + rows.n_rows[first:last].nonzero()[:, 0])
                bar.update(last - first)
    except KeyboardInterrupt:
        pass  # what is done is whole
    return run.result()


def _starts(
    rows: GroupedRows,
    start: Any,
    n_components: int | None,
    covariance: str,
    n_init: int,
    reg_covar: float,
    seed: int | None,
) -> ByKmeans | Given:
    if start is not None:
        check(n_init == 1, "n_init", "1, as there is one start for each group", n_init)
        return Given.checked(start, rows, n_components)
    check(n_components is not None, "n_components", "a positive integer, or start", "neither")
    count = check_integer("n_components", n_components)
    names = [name for name, structure in STRUCTURES.items() if not structure.has_rank]
    structure = STRUCTURES[check_choice("covariance", covariance, names)]
    return ByKmeans(count, structure, n_init, reg_covar, seed, rows.x.device)


class _Run:
    """Fits some groups after others, and keeps what became of each.

    Args:
        rows: of all groups.
        starts: of all groups.
        fitter: what each would be fitted by alone.
    """

    def __init__(self, rows: GroupedRows, starts: ByKmeans | Given, fitter: EMFitter) -> None:
        self._rows, self._starts, self._fitter = rows, starts, fitter
        self._tolerance = Tolerance(fitter.tol)
        self._fitted: list[tuple[Tensor, GaussianMixture]] = []
        n_groups, cpu = len(rows), torch.device("cpu")
        self._n_iter = torch.zeros(n_groups, dtype=torch.int64, device=cpu)
        self._log_likelihood = torch.full((n_groups,), torch.nan, dtype=torch.float64, device=cpu)
        self._endings: list[tuple[Status, str] | None] = [None] * n_groups

    @property
    def most_rows(self) -> int:
        """How many are fitted at once: their products are at hand, and the keyboard waits."""
        n_features, starts = self._rows.x.shape[1], self._starts
        per_step = products_per_row(starts.structure, starts.n_components, n_features)
        per_row = starts.n_init * self._fitter.max_iter * per_step
        at_once = int(_LONGEST * torch.get_num_threads() * PRODUCTS_PER_SECOND / per_row)
        return max(1, min(at_once, _MOST_VALUES // n_features**2))

    def fit(self, at: Tensor) -> None:
        """Fits groups, which have rows."""
        if not len(at):
            return
        rows = self._rows.some(at)
        starts = self._starts.of(rows, at)
        is_native = not unavailable(starts, len(rows.x), self._tolerance, None)
        is_native &= len(rows) > 1 or len(rows.x) <= self.most_rows  # else the keyboard has to wait
        odd = self._fit_natively(rows, starts, at) if is_native else range(len(at))
        for i in odd:
            self._fit_alone(rows, starts, i, int(at[i]))

    def _fit_natively(self, rows: GroupedRows, starts: GaussianMixture, at: Tensor) -> list[int]:
        """Fits groups at once; returns those with a step that is out of the ordinary."""
        n_groups, n_init = len(rows), self._starts.n_init
        shared = (rows.offset, rows.n_rows, rows.total)
        problems = Problems(rows.x, rows.weight, *(part.repeat(n_init) for part in shared))
        run = take_steps(
            problems,
            starts,
            self._fitter.max_iter,
            reg_covar=self._fitter.reg_covar,
            tol=self._fitter.tol,
            is_whole=True,
            n_threads=Workload(starts, len(rows.x) // n_groups + 1).n_threads,
        )
        taken = zip(run.values, run.n_steps, strict=True)
        ends = [values[n_steps] for values, n_steps in taken]
        likelihood = self._n_iter.new_tensor(ends, dtype=torch.float64).view(n_init, -1)
        is_odd = (at.new_tensor(run.outcomes).view(n_init, -1) == EXTRAORDINARY).any(0)
        best = likelihood.argmax(0) * n_groups + at.new_tensor(
            range(n_groups)
        )  # the first of equals
        done, best = at[~is_odd], best[~is_odd]
        if len(done):
            self._fitted.append((done, run.mixture(best)))
        self._log_likelihood[done] = likelihood.flatten()[best]
        self._n_iter[done] = at.new_tensor(run.n_steps)[best]
        for group, i in zip(done.tolist(), best.tolist(), strict=True):
            self._endings[group] = run.ending(i, self._tolerance)
        return is_odd.nonzero()[:, 0].tolist()

    def _fit_alone(self, rows: GroupedRows, starts: GaussianMixture, i: int, group: int) -> None:
        own = rows.some(rows.n_rows.new_tensor([i]))
        mine = starts.reindex(lambda t: t[i :: len(rows)])  # one of each time
        result = self._fitter.fit(own.x, mine, own.weight)
        if result.interrupted:
            raise KeyboardInterrupt
        again = result.mixture.reindex(lambda t: t.unsqueeze(0))
        self._fitted.append((self._n_iter.new_tensor([group]), again))
        self._n_iter[group], self._log_likelihood[group] = result.n_iter, result.log_likelihood
        self._endings[group] = result.status, result.reason

    def _mixture(self) -> GaussianMixture:
        """The mixtures of all groups, of which some may have been fitted again."""
        parts = self._fitted
        if None in self._endings:
            none = self._starts.of_none(self._rows)
            parts = [(self._n_iter.new_tensor(range(len(self._rows))), none), *parts]
        (_, like), n_groups = parts[0], len(self._rows)
        whole = {
            name: part.new_empty(n_groups, *part.shape[1:]) for name, part in like.tensors().items()
        }
        for at, mixture in parts:
            for name, part in mixture.tensors().items():
                whole[name][at] = part
        name = like.covariance.name
        return GaussianMixture.from_tensors(whole, name, missing=like.missing)

    def result(self) -> GroupFits:
        """What became of all groups."""
        said = self._starts.said_of_none
        late = Status.INTERRUPTED, f"interrupted before its turn: it {said}"
        none = Status.BROKEN_DOWN, f"it has no rows of positive weight, and {said}"
        n_rows = self._rows.n_rows.tolist()
        endings = [
            ending or (late if count else none)
            for ending, count in zip(self._endings, n_rows, strict=True)
        ]
        return GroupFits(
            mixture=self._mixture().to(self._rows.dtype),
            statuses=tuple(status for status, _ in endings),
            reasons=tuple(reason for _, reason in endings),
            n_iter=self._n_iter,
            log_likelihood=self._log_likelihood,
            n_rows=self._n_iter.new_tensor(n_rows),
            reg_covar=self._fitter.reg_covar,
        )
