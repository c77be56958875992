"""What simulation-based calibration returns: ranks, and what they say."""

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..checks import check_number
from .uniformity import even_p_value

__all__ = ["LEAST_SIMULATIONS", "SimulatedCalibration"]

LEAST_SIMULATIONS = 10
_FALSE_ALARM = 0.01  # the probability that a calibrated inference is said not to be
_LEVELS = (0.5, 0.8, 0.9)
_CLEAR = 3.0  # standard errors
_FEW_DRAWS = 20
_MOST_SAID = 4
_REMEDIES = {
    "too narrow": "take a richer guide, sample on from it (sample_posterior(start=guide)), or run "
    "longer",
    "too wide": "run longer, as these draws have not yet come to the posterior",
    "biased": "look for modes that are missed, and take more steps, more particles or a better "
    "start",
    "uneven": "plot the ranks (plot_calibration), and sample instead of a guide, or run longer",
}


@dataclass(frozen=True, eq=False, repr=False)
class SimulatedCalibration:
    """Where truths lie among the draws of an inference, over simulated data sets.

    Attributes:
        names: the quantities.
        ranks: how many draws of a data set are below the truth, shape ``(N, Q)``, from zero to
            ``num_draws``; ties are broken at random.
        num_draws: among how many draws a rank is, shape ``(N,)``.
        num_simulations: how many data sets were asked for.
        failures: what went wrong with data sets that have no ranks, in words.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import SimulatedCalibration
        >>> ranks = torch.arange(100).unsqueeze(1)
        >>> SimulatedCalibration(("mean",), ranks, torch.full((100,), 99), 100).is_calibrated
        True
    """

    names: tuple[str, ...]
    ranks: Tensor
    num_draws: Tensor
    num_simulations: int
    failures: tuple[str, ...] = ()

    @property
    def interrupted(self) -> bool:
        """Whether the keyboard ended the run."""
        return len(self.ranks) + len(self.failures) < self.num_simulations

    @property
    def positions(self) -> Tensor:
        """The ranks as even numbers in [0, 1], if calibrated, ``(N, Q)``: jittered within steps."""
        generator = torch.Generator().manual_seed(0)
        jitter = torch.rand(self.ranks.shape, generator=generator, dtype=torch.float64)
        return (self.ranks + jitter) / (self.num_draws.unsqueeze(-1) + 1)

    @functools.cached_property
    def p_values(self) -> Tensor:
        """Of the hypothesis that a quantity is calibrated, shape ``(Q,)``.

        Two exact tests, of whether the positions are even, which sees what is biased, and whether
        their distances from the middle are, which sees what is too narrow or too wide.
        """
        both = self.positions.T.numpy(), self.levels.T.numpy()
        p_values = [[even_p_value(one) for one in values] for values in both]
        return torch.tensor(p_values, dtype=torch.float64).amin(0).mul(2).clamp(max=1)

    @property
    def levels(self) -> Tensor:
        """The central intervals that just hold the truth, by their probabilities, ``(N, Q)``."""
        return (2 * self.positions - 1).abs()

    @property
    def band_probability(self) -> float:
        """The probability of a line's band, by which all stay in theirs in 99 of 100 runs.

        There are two lines for each quantity. It is Bonferroni's: they depend on each other in ways
        unknown.
        """
        return 1 - _FALSE_ALARM / (2 * len(self.names))

    @property
    def in_band(self) -> Tensor:
        """Which quantities stay within their simultaneous bands, shape ``(Q,)``."""
        return self.p_values > _FALSE_ALARM / len(self.names)

    @property
    def is_calibrated(self) -> bool:
        """Whether there were data sets enough, and nothing beyond chance was seen in them."""
        return len(self.ranks) >= LEAST_SIMULATIONS and bool(self.in_band.all())

    def coverage(self, level: float = 0.9) -> Tensor:
        """In which share of data sets central intervals hold the truth, shape ``(Q,)``.

        Args:
            level: the intervals' probability.

        Raises:
            ValueError: if it is not between zero and one.
        """
        level = _checked_level(level)
        return (self.levels <= level).double().mean(0)

    def coverage_by_chance(self, level: float = 0.9) -> tuple[float, float]:
        """The least and the most coverage that chance explains in 99 of 100 runs.

        Raises:
            ValueError: if the level is not between zero and one.
        """
        from scipy.stats import binom

        count = max(len(self.ranks), 1)
        low, high = binom.interval(0.99, count, _checked_level(level))
        return low / count, high / count

    @property
    def verdict(self) -> str:
        """What the ranks say, in words, with the remedy."""
        count = len(self.ranks)
        failed = f"; {len(self.failures)} data sets failed" if self.failures else ""
        if count < LEAST_SIMULATIONS:
            return f"not to be told from {count} data sets{failed}"
        few = float(self.num_draws.double().median()) < _FEW_DRAWS
        weak = "; ranks among few independent draws: run longer, to see more" if few else ""
        order, in_band = self.p_values.argsort(), self.in_band
        wrong = [int(q) for q in order if not in_band[q]]
        if not wrong:
            return f"calibrated, within chance of {count} data sets{failed}{weak}"
        kinds = [self._kind(q) for q in wrong]
        said = "; ".join(f"{self.names[q]} is {self._in_words(q)}" for q in wrong[:_MOST_SAID])
        more = f"; and {len(wrong) - _MOST_SAID} others" if len(wrong) > _MOST_SAID else ""
        remedy = _REMEDIES[max(kinds, key=kinds.count)]
        return f"not calibrated: {said}{more}{failed}{weak}. Remedy: {remedy}"

    def _errors(self, q: int) -> tuple[float, float]:
        """How far positions are from even in their mean and their spread, in standard errors."""
        positions = self.positions[:, q]
        bias, spread = float(positions.mean()) - 1 / 2, float(positions.var()) - 1 / 12
        return bias * math.sqrt(12 * len(positions)), spread * math.sqrt(180 * len(positions))

    def _kind(self, q: int) -> str:
        bias, spread = self._errors(q)
        if max(abs(bias), abs(spread)) < _CLEAR:
            return "uneven"
        if abs(bias) > abs(spread):
            return "biased"
        return "too narrow" if spread > 0 else "too wide"

    def _in_words(self, q: int) -> str:
        kind, bias = self._kind(q), self._errors(q)[0]
        if kind == "uneven":
            return "unevenly ranked"
        side = "biased low" if bias > 0 else "biased high"
        if kind == "biased":
            return f"{side} (truths lie above {float(self.positions[:, q].mean()):.0%} of draws)"
        also = f", and {side}" if abs(bias) > _CLEAR else ""
        return f"{kind} (90 % intervals hold {self.coverage(0.9)[q]:.0%}){also}"

    def __repr__(self) -> str:
        width = max(map(len, self.names))
        heads = "".join(f"{level:>8.0%}" for level in _LEVELS)
        lines = [f"{'':{width}}  p-value{heads} intervals hold"]
        rows = np.column_stack([self.p_values, *(self.coverage(level) for level in _LEVELS)])
        for name, (p_value, *shares), inside in zip(self.names, rows, self.in_band, strict=True):
            cells = "".join(f"{share:>8.0%}" for share in shares)
            lines.append(f"{name:{width}}  {p_value:7.2g}{cells}{'' if inside else '  <'}")
        limits = [self.coverage_by_chance(level) for level in _LEVELS]
        chance = "".join(f"{f'{100 * low:.0f}-{100 * high:.0f}':>8}" for low, high in limits)
        lines.append(f"{'by chance':{max(width, 9)}}  {'':7}{chance}")
        count = f"{len(self.ranks)} of {self.num_simulations} data sets"
        return "\n".join([f"{type(self).__name__}({count})", *lines, self.verdict])


def _checked_level(level: float) -> float:
    return check_number("level", level, lambda v: 0 < v < 1, "a number between zero and one")
