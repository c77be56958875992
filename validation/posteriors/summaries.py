"""Posteriors as a few numbers for each quantity, which are kept in files."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import arviz
import numpy as np
from torch import Tensor

from pyro_ugmm.files import write_atomically

__all__ = ["FOLDER", "LEAST_UNIT", "Reference", "Summary", "gaps", "summarize"]

FOLDER = Path(__file__).parents[1] / "references"
_DIGITS = 5
LEAST_UNIT = 0.01


@dataclass(frozen=True)
class Summary:
    """One quantity.

    Attributes:
        mean, sd: of the draws.
        low, median, high: 5, 50 and 95 percent of the draws are below.
        ess: the effective number of draws.
        r_hat: over chains or populations.
    """

    mean: float
    sd: float
    low: float
    median: float
    high: float
    ess: float
    r_hat: float


@dataclass(frozen=True)
class Reference:
    """What long chains say of a posterior.

    Attributes:
        n_chains, n_draws: how many chains, and draws of each.
        n_gradients, n_divergent, seconds: what they took.
        log_evidence, log_evidence_error: by bridge sampling, where that works.
        summaries: of all quantities, by name.
    """

    n_chains: int
    n_draws: int
    n_gradients: int
    n_divergent: int
    seconds: float
    log_evidence: float | None
    log_evidence_error: float | None
    summaries: dict[str, Summary]

    @property
    def r_hat(self) -> float:
        """The largest of all quantities."""
        return max(summary.r_hat for summary in self.summaries.values())

    @property
    def ess(self) -> float:
        """The smallest of all quantities."""
        return min(summary.ess for summary in self.summaries.values())

    @classmethod
    def load(cls, name: str, folder: Path = FOLDER) -> "Reference":
        """Reads the file of a case."""
        record = json.loads((folder / f"{name}.json").read_text())
        summaries = record.pop("summaries")
        return cls(**record, summaries={q: Summary(*numbers) for q, numbers in summaries.items()})

    def save(self, name: str, folder: Path = FOLDER) -> None:
        """Writes the file of a case, a line for each quantity."""
        folder.mkdir(parents=True, exist_ok=True)
        record: dict[str, Any] = asdict(self)
        lines = [
            f"  {json.dumps(quantity)}: {json.dumps([*map(_rounded, summary.values())])}"
            for quantity, summary in record.pop("summaries").items()
        ]
        head = json.dumps({key: _rounded(value) for key, value in record.items()}, indent=1)
        text = f'{head[:-2]},\n "summaries": {{\n' + ",\n".join(lines) + "\n }\n}\n"
        write_atomically(folder / f"{name}.json", text.encode())


def _rounded(number: float | None) -> float | None:
    if not isinstance(number, float) or number == 0 or not math.isfinite(number):
        return number
    return round(number, _DIGITS - 1 - math.floor(math.log10(abs(number))))


def summarize(quantities: dict[str, Tensor], n_chains: int) -> dict[str, Summary]:
    """Summarizes draws ``(S,)`` of quantities, one chain after the other."""
    return {name: _summary(values, n_chains) for name, values in quantities.items()}


def _summary(values: Tensor, n_chains: int) -> Summary:
    chains = values.double().reshape(n_chains, -1).numpy()
    low, median, high = np.quantile(chains, (0.05, 0.5, 0.95))
    numbers = (chains.mean(), chains.std(), low, median, high, arviz.ess(chains))
    return Summary(*map(float, numbers), r_hat=float(arviz.rhat(chains)))


def gaps(ours: dict[str, Summary], theirs: dict[str, Summary]) -> dict[str, tuple[float, float]]:
    """How far means, and the farther ends of 90 % intervals, are apart, in theirs' sd.

    Where that is under a hundredth, of a nat or of a probability, in hundredths: that two rows go
    together with a probability of 0.999999, files of five digits do not tell.
    """
    table = {}
    for name, reference in theirs.items():
        own = ours[name]
        ends = max(abs(own.low - reference.low), abs(own.high - reference.high))
        unit = max(reference.sd, LEAST_UNIT)
        table[name] = (abs(own.mean - reference.mean) / unit, ends / unit)
    return table
