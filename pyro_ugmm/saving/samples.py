"""The samples of posteriors that files hold: what is said of each, and its tensors."""

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import torch
from torch import Tensor

from ..checks import check, check_choice, check_integer
from ..descriptions import check_fields, is_number
from ..models.base import BayesianModel
from ..sampling import Change, Moved, PosteriorSample, Rung
from ..status import Status
from .tensors import check_shape

__all__ = ["check_described", "describe_sample", "restore_sample", "tensors_of_sample"]

_GROUPS = ("quantities", "sites")
_FIELDS = ("num_populations", "status", "reason", "r_hat", "rungs", "held", "moved", "seconds")


def describe_sample(sample: PosteriorSample, model: BayesianModel) -> dict[str, Any]:
    """Returns what a file says of a sample, as JSON holds it.

    Raises:
        ValueError: if it is not one of the model.
    """
    ours = {name: tuple(site.shape) for name, site in model.latent_sites().items()}
    theirs = {name: tuple(draws.shape[1:]) for name, draws in sample.draws.items()}
    check(ours == theirs, "guide", f"a sample of the model's sites {ours}", f"one of {theirs}")
    said = {name: getattr(sample, name) for name in _FIELDS}
    return said | {
        "status": sample.status.name,
        "rungs": [asdict(rung) for rung in sample.rungs],
        "moved": None if sample.moved is None else sample.moved.n_temperatures,
    }


def tensors_of_sample(sample: PosteriorSample) -> dict[str, Tensor]:
    """Returns the tensors of a sample, by name."""
    tensors = {f"draws.{name}": draws for name, draws in sample.draws.items()}
    tensors["log_evidences"] = sample.log_evidences
    for group in _GROUPS if sample.moved is not None else ():
        for name, change in getattr(sample.moved, group).items():
            for part, tensor in change._asdict().items():
                tensors[f"{group}.{name}.{part}"] = tensor
    return tensors


def check_described(said: Any) -> None:
    """Checks what a file says of a sample.

    Raises:
        ValueError: if a field is missing, unknown or not valid; the message names it.
    """
    check_fields("sample", said, _FIELDS)
    check_integer("sample.num_populations", said["num_populations"])
    check_choice("sample.status", said["status"], Status.__members__)
    check(isinstance(said["reason"], str), "sample.reason", "words", repr(said["reason"]))
    check(_is_number(said["seconds"]), "sample.seconds", "a number", repr(said["seconds"]))
    if said["moved"] is not None:
        check_integer("sample.moved", said["moved"])
    r_hat, held, rungs = said["r_hat"], said["held"], said["rungs"]
    is_table = isinstance(r_hat, dict) and all(map(_is_number, r_hat.values()))
    check(is_table, "sample.r_hat", "numbers by name", repr(r_hat))
    is_names = isinstance(held, list) and all(isinstance(name, str) for name in held)
    check(is_names, "sample.held", "a list of names", repr(held))
    check(isinstance(rungs, list), "sample.rungs", "a list", repr(rungs))
    for rung in rungs:
        check_fields("sample.rungs", rung, [field.name for field in fields(Rung)])
        are_numbers = all(isinstance(v, bool) or _is_number(v) for v in rung.values())
        check(are_numbers, "sample.rungs", "numbers", repr(rung))


def _is_number(value: Any) -> bool:
    """Whether a value is a number, or what is none, as of populations that cannot be compared."""
    return is_number(value) or (isinstance(value, float) and not math.isfinite(value))


def restore_sample(
    said: Mapping[str, Any], tensors: Mapping[str, Tensor], model: BayesianModel, dtype: torch.dtype
) -> PosteriorSample:
    """Makes a sample of what a file says and its tensors, which have the names of the sample's.

    Raises:
        ValueError: if a tensor is missing, unknown, or of another shape or dtype.
    """
    count, draws = _count_of(tensors, said["num_populations"]), {}
    for name, site in model.latent_sites().items():
        check_shape(tensors, f"draws.{name}", (count, *site.shape))
        draws[name] = tensors[f"draws.{name}"]
        fits = draws[name].dtype == dtype and bool(draws[name].isfinite().all())
        check(fits, f"draws.{name}", f"finite numbers of {dtype}", "others")
    check_shape(tensors, "log_evidences", (said["num_populations"],))
    moved = None
    if said["moved"] is not None:
        moved = Moved(said["moved"], *(_changes(tensors, group) for group in _GROUPS))
    sample = PosteriorSample(
        **{
            **said,
            "draws": draws,
            "log_evidences": tensors["log_evidences"],
            "status": Status[said["status"]],
            "rungs": tuple(Rung(**rung) for rung in said["rungs"]),
            "held": tuple(said["held"]),
            "moved": moved,
        }
    )
    unknown = sorted(tensors.keys() - tensors_of_sample(sample).keys())
    check(not unknown, "tensors", "none but those of a sample", unknown)
    return sample


def _count_of(tensors: Mapping[str, Tensor], num_populations: int) -> int:
    """How many draws there are, of one site at least."""
    lengths = [len(t) for name, t in tensors.items() if name.startswith("draws.") and t.dim()]
    fits = bool(lengths) and lengths[0] > 0 and lengths[0] % num_populations == 0
    check(fits, "draws", f"draws of {num_populations} populations", f"{lengths} of them")
    return lengths[0]


def _changes(tensors: Mapping[str, Tensor], group: str) -> dict[str, Change]:
    prefix, suffix = f"{group}.", ".shift"
    names = [
        name.removeprefix(prefix).removesuffix(suffix)
        for name in tensors
        if name.startswith(prefix) and name.endswith(suffix)
    ]
    changes = {}
    for name in names:
        shift = tensors[f"{prefix}{name}.shift"]
        check_shape(tensors, f"{prefix}{name}.width", tuple(shift.shape))
        changes[name] = Change(shift, tensors[f"{prefix}{name}.width"])
    return changes
