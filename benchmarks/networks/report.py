"""The results in tables."""

import math
import statistics
from typing import Any

from ..common.tables import table
from .contenders import BOOSTED, CONTENDERS, ENSEMBLE, LIKELIHOOD, LOGISTIC, MLP, MLPS, OURS
from .measure import MEASURES
from .strange import LEFT_OUT
from .studies import FEW_ROWS, LEARNERS
from .summaries import Difference, compared, mean_over_splits

__all__ = ["KINDS", "WAYS", "auc_of", "has_gaps", "report"]

ALL, MISSING = "all rows", "missing inputs"
RIVALS = [name for name in CONTENDERS if name not in OURS]
KINDS = (
    *(LEFT_OUT, "turned", "shifted", "blurred", "inverted", "permuted", "noise", "scaled"),
    "another data set",
)
WAYS = (
    *("network omits", "network omits, trained with gaps", "network, EM imputes"),
    *("MLP, mean", "MLP, EM imputes", BOOSTED),
)
_STRANGE_PAIRS = (LIKELIHOOD, MLP), (ENSEMBLE, MLPS), (ENSEMBLE, BOOSTED)


def _number(value: float, digits: int = 3) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def _difference(found: Difference | None) -> str:
    if found is None:
        return ""
    return (
        f"{found.mean:+.3f} ± {found.error:.3f} ({found.above} above, {found.below} below, "
        f"of {found.count})"
    )


def _by_data(data: dict[str, Any], measure: str) -> list[str]:
    """A row for each data set, a column for each method."""
    rows = [
        [
            f"{name}, {run['n_rows']:,} x {run['n_features']}, {run['n_classes']} classes",
            *(_number(mean_over_splits(run, ALL, method, measure)) for method in CONTENDERS),
        ]
        for name, run in data.items()
    ]
    return table(["", *CONTENDERS], rows)


def _paired(data: dict[str, Any], measure: str) -> list[str]:
    """A row for each of our methods, a column for each other one."""
    rows = [
        [ours, *(_difference(compared(data, ALL, ours, rival, measure)) for rival in RIVALS)]
        for ours in OURS
    ]
    return table(["", *RIVALS], rows)


def auc_of(run: dict[str, Any], method: str, kind: str) -> float:
    """The mean AUC of a kind of strange rows; NaN where a data set has none."""
    if kind == LEFT_OUT:
        return mean_over_splits(run, LEFT_OUT, method, kind)
    return mean_over_splits(run, ALL, method, "strange", kind)


def _strange(data: dict[str, Any]) -> list[str]:
    """A row for each kind: means over the data sets that have it and all methods but SMC."""
    methods = [name for name in CONTENDERS if name != OURS[-1]]
    rows = []
    for kind in KINDS:
        cells = {
            method: [
                one for run in data.values() if not math.isnan(one := auc_of(run, method, kind))
            ]
            for method in methods
        }
        count = len(cells[methods[0]])
        if count:
            means = [_number(statistics.mean(cells[method])) for method in methods]
            rows.append([f"{kind} ({count})", *means])
    return table(["", *methods], rows)


def _paired_strange(data: dict[str, Any]) -> list[str]:
    """A row for each kind, a column for each pair of methods."""
    rows = []
    for kind in KINDS:
        study, path = (LEFT_OUT, (kind,)) if kind == LEFT_OUT else (ALL, ("strange", kind))
        cells = [_difference(compared(data, study, *pair, *path)) for pair in _STRANGE_PAIRS]
        if any(cells):
            rows.append([kind, *cells])
    return table(["", *(f"{ours} less {theirs}" for ours, theirs in _STRANGE_PAIRS)], rows)


def has_gaps(run: dict[str, Any]) -> bool:
    """Whether missing inputs were measured on a data set."""
    return bool(run["splits"][0][MISSING])


def _gaps(data: dict[str, Any], gaps: list[float], measure: str) -> list[str]:
    """A row for each way, a column for each share of missing inputs."""
    shares = [f"{share:g}" for share in gaps]
    some = [run for run in data.values() if has_gaps(run)]
    rows = [
        [
            way,
            *(
                _number(
                    statistics.mean(
                        mean_over_splits(run, MISSING, way, share, measure) for run in some
                    )
                )
                for share in shares
            ),
        ]
        for way in WAYS
    ]
    return table(["", *(f"{100 * share:.0f} % missing" for share in gaps)], rows)


def _paired_gaps(data: dict[str, Any], gaps: list[float]) -> list[str]:
    """The log-losses of ways less that of the MLP behind EM."""
    rows = [
        [
            way,
            *(
                _difference(
                    compared(data, MISSING, way, "MLP, EM imputes", f"{share:g}", "log_loss")
                )
                for share in gaps
            ),
        ]
        for way in WAYS
        if way != "MLP, EM imputes"
    ]
    return table(["", *(f"{100 * share:.0f} % missing" for share in gaps)], rows)


def _few(data: dict[str, Any], sizes: list[int], measure: str) -> list[str]:
    """A row for each size: means over the data sets that have so many rows."""
    rows = []
    for size in map(str, sizes):
        some = [run for run in data.values() if run["splits"][0][FEW_ROWS][MLP].get(size)]
        if some:
            means = [
                _number(
                    statistics.mean(
                        mean_over_splits(run, FEW_ROWS, name, size, measure) for run in some
                    )
                )
                for name in LEARNERS
            ]
            rows.append([f"{int(size):,} rows ({len(some)})", *means])
    return table(["", *LEARNERS], rows)


def _paired_few(data: dict[str, Any], sizes: list[int]) -> list[str]:
    """The log-losses of our methods less those of logistic regression and the MLP."""
    rows = []
    for size in map(str, sizes):
        for ours in (name for name in LEARNERS if name in OURS):
            cells = [
                _difference(compared(data, FEW_ROWS, ours, rival, size, "log_loss"))
                for rival in (LOGISTIC, MLP, BOOSTED)
            ]
            if any(cells):
                rows.append([f"{int(size):,} rows, {ours}", *cells])
    return table(["", LOGISTIC, MLP, BOOSTED], rows)


def report(record: dict[str, Any]) -> str:
    """All tables."""
    data, settings = record["data"], record["settings"]
    lines = ["# Networks beside other classifiers", "", _introduction(record), ""]
    lines += ["![Differences by data set and study](networks.png)", ""]
    for measure, title in MEASURES.items():
        lines += [f"## {title[0].upper()}{title[1:]}", "", *_by_data(data, measure), ""]
        lines += [f"Ours less others' {title}, paired:", "", *_paired(data, measure), ""]
    lines += ["## Strange inputs", "", _strange_words(), "", *_strange(data), ""]
    lines += ["Differences, paired:", "", *_paired_strange(data), ""]
    gaps = settings["gaps"]
    if any(has_gaps(run) for run in data.values()):
        lines += ["## Missing inputs", "", _missing_words(), ""]
        lines += ["Accuracy:", "", *_gaps(data, gaps, "accuracy"), ""]
        lines += ["Log-loss:", "", *_gaps(data, gaps, "log_loss"), ""]
        lines += ["Log-loss, less that of the MLP behind EM:", "", *_paired_gaps(data, gaps), ""]
    sizes = settings["sizes"]
    lines += ["## Few rows", "", _few_words(), ""]
    lines += ["Accuracy:", "", *_few(data, sizes, "accuracy"), ""]
    lines += ["Log-loss:", "", *_few(data, sizes, "log_loss"), ""]
    lines += ["Log-loss, ours less others', paired:", "", *_paired_few(data, sizes)]
    return "\n".join(lines).rstrip() + "\n"


def _introduction(record: dict[str, Any]) -> str:
    settings = record["settings"]
    return (
        f"Means over {settings['n_splits']} stratified splits, a quarter of the rows left out, "
        "features in units of the other rows, and the library's defaults; nothing was tuned on a "
        f"data set. Networks have {settings['hidden']} hidden neurons, and {settings['steps']} "
        f"steps of batches of {settings['batch_size']}: by *maximum likelihood* (`fit_mle`), the "
        f"same *with dropout* 0.2, {settings['members']} *networks* that predict by their average, "
        f"*SVI* by as many steps again from the first, and *SMC* ({settings['particles']} "
        f"particles, {settings['small']} hidden neurons) where rows times features are at most "
        f"{settings['most_values']:,}. The MLPs have one hidden layer of rectified linear units "
        "and as many parameters as the networks, and as many steps of AdamW with torch's weight "
        f"decay, at a peak rate of 0.01; *MLPs* are {settings['members']}, and *MC dropout* drops "
        f"0.2 of the units in {settings['draws']} passes. Logistic regression and boosted trees "
        "(HistGradientBoostingClassifier) have scikit-learn's defaults. Log-losses count "
        "probabilities as at least a millionth; calibration errors have ten bins. A paired "
        "difference is a mean over data sets ± its standard error over these, with on how many it "
        "is more than twice its error over splits above zero, or below. (Splits share rows: that "
        f"error is rough.) `make bench-networks`"
    )


def _strange_words() -> str:
    return (
        "AUC: how often the entropy of the predicted classes is higher for a strange row than for "
        "one left out; means over the data sets (how many) that have the kind. A left-out class is "
        "another one in each split. Turned by 90 degrees, shifted by a quarter, blurred and "
        "inverted are images. *Permuted* are columns in another order; *noise* is uniform between "
        "a column's extremes, or black and white; *scaled* are rows three times as far from the "
        "center; *another data set* is a photograph's pieces beside images, and beside tables the "
        "first columns of breast cancer, in units of their own."
    )


def _missing_words() -> str:
    return (
        "A share of the inputs left out is missing at random at test time. Networks with "
        '`missing="omit"` leave their components out, trained on whole rows or on rows of which '
        "three tenths are missing; conditional means are of a mixture of one to three components "
        "with full covariances, chosen by BIC; the mean is the training rows'. Boosted trees take "
        "missing values as they are. Means over all data sets but MNIST."
    )


def _few_words() -> str:
    return (
        "The first rows of each training part, of which the very first are one of each class; "
        "means over the data sets (how many) that have more rows than that."
    )
