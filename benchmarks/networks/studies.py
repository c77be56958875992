"""The four studies of one split: all rows, strange rows, missing inputs, few rows."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pyro_ugmm.distributions import impute
from pyro_ugmm.em import EMFitter, select

from .contenders import (
    BOOSTED,
    CONTENDERS,
    LOGISTIC,
    MLP,
    OURS,
    SMC,
    Predict,
    fit_network,
    is_too_large,
)
from .data import Classes, Split, Units
from .measure import auc, scored
from .settings import Settings
from .strange import LEFT_OUT, strange_rows

__all__ = ["FEW_ROWS", "LEARNERS", "STUDIES"]

LEARNERS = (*(name for name in OURS if name not in ("networks", SMC)), LOGISTIC, MLP, BOOSTED)
"""What learning curves are of."""

_FEWEST_CLASSES = 3  # of which one can be left out
_GAP = 0.3  # the share of inputs missing in training, where some are
_COMPONENTS = range(1, 4)


def all_rows(part: Split, settings: Settings, seed: int) -> dict[str, Any]:
    """Each method's scores of the rows left out, and its AUC of each kind of strange rows."""
    x, strange = part.units.standardized(part.test.x), strange_rows(part)
    found = {}
    for name, fit in CONTENDERS.items():
        if is_too_large(name, part.train, settings):
            continue
        started = time.perf_counter()
        predict = fit(part.known, settings, seed)
        seconds = round(time.perf_counter() - started, 3)
        known = predict(x)
        kinds = {kind: auc(known, predict(rows)) for kind, rows in strange.items()}
        found[name] = scored(known, part.test.y) | {"seconds": seconds, "strange": kinds}
    return found


def left_out_class(part: Split, settings: Settings, seed: int) -> dict[str, Any]:
    """Each method's but SMC's AUC of rows of a class that it has not seen, another by split."""
    n_classes = part.train.n_classes
    if n_classes < _FEWEST_CLASSES:
        return {}
    left = seed % n_classes
    train, test = (
        Classes(rows.x, torch.where(rows.y > left, rows.y - 1, rows.y), rows.side).taken(
            rows.y != left
        )
        for rows in (part.train, part.test)
    )
    units = Units.of(train)
    known = Classes(units.standardized(train.x), train.y, train.side)
    strange = units.standardized(part.test.x[part.test.y == left])
    found = {}
    for name, fit in CONTENDERS.items():
        if name != SMC:
            predict = fit(known, settings, seed)
            found[name] = {LEFT_OUT: auc(predict(units.standardized(test.x)), predict(strange))}
    return found


def _with_gaps(x: Tensor, share: float, seed: int) -> Tensor:
    """Rows of which each entry is missing with some probability, but for one of each row."""
    generator = torch.Generator().manual_seed(seed)
    ranks = torch.rand(x.shape, generator=generator)
    is_missing = (ranks < share) & (ranks < ranks.amax(1, keepdim=True))
    return x.masked_fill(is_missing, torch.nan)


def _omitting(rows: Classes, settings: Settings, seed: int) -> Predict:
    model, _ = fit_network(rows, settings, seed, missing="omit")

    @torch.no_grad()
    def predict(x: Tensor) -> Tensor:
        return model.network(x).softmax(-1)

    return predict


def _imputation(rows: Classes, seed: int) -> Callable[[Tensor], Tensor]:
    fitter = EMFitter(reg_covar=1e-3, progress=False)
    best = select(rows.x.double(), _COMPONENTS, fitter=fitter, seed=seed, progress=False).best
    return lambda x: impute(best.result.mixture, x.double()).float()


def missing_inputs(part: Split, settings: Settings, seed: int) -> dict[str, Any]:
    """Scores where inputs are missing at test time; images of more than 100 pixels are left out."""
    if part.train.x.shape[1] > 100:
        return {}
    known, imputed = part.known, _imputation(part.known, seed)
    gappy = Classes(_with_gaps(known.x, _GAP, seed), known.y)
    network, trained, mlp, trees = (
        _omitting(known, settings, seed),
        _omitting(gappy, settings, seed),
        CONTENDERS[MLP](known, settings, seed),
        CONTENDERS[BOOSTED](known, settings, seed),
    )
    found: dict[str, Any] = {}
    x = part.units.standardized(part.test.x)
    for share in settings.gaps:
        holes = _with_gaps(x, share, seed + 100)
        filled = imputed(holes)
        answers = {
            "network omits": network(holes),
            "network omits, trained with gaps": trained(holes),
            "network, EM imputes": network(filled),
            "MLP, mean": mlp(holes.nan_to_num()),
            "MLP, EM imputes": mlp(filled),
            BOOSTED: trees(holes),
        }
        for way, probabilities in answers.items():
            found.setdefault(way, {})[f"{share:g}"] = scored(probabilities, part.test.y)
    return found


def _fewer(rows: Classes, size: int) -> Classes:
    """The first rows, of which the very first are one of each class."""
    firsts = torch.stack([(rows.y == k).nonzero()[0, 0] for k in range(rows.n_classes)])
    rest = torch.ones(len(rows.y), dtype=torch.bool).index_fill(0, firsts, False).nonzero()[:, 0]
    return rows.taken(torch.cat([firsts, rest])[:size])


def few_rows(part: Split, settings: Settings, seed: int) -> dict[str, Any]:
    """Scores of methods that learn from few rows, in the units of these."""
    found: dict[str, Any] = {name: {} for name in LEARNERS}
    for size in settings.sizes:
        if not max(10, part.train.n_classes) <= size < len(part.train.y):
            continue
        train = _fewer(part.train, size)
        less = Split(train, part.test, Units.of(train))
        x = less.units.standardized(part.test.x)
        for name in LEARNERS:
            predict = CONTENDERS[name](less.known, settings, seed)
            found[name][str(size)] = scored(predict(x), part.test.y)
    return found


FEW_ROWS = "few rows"
STUDIES: dict[str, Callable[[Split, Settings, int], dict[str, Any]]] = {
    "all rows": all_rows,
    LEFT_OUT: left_out_class,
    "missing inputs": missing_inputs,
    FEW_ROWS: few_rows,
}
"""What is measured of a split, by name."""
