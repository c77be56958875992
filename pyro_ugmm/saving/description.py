"""What a file says of a fitted model."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Self, cast

import torch
from pyro.infer.autoguide import AutoGuide

from ..checks import check, check_choice, check_integer
from ..descriptions import check_fields
from ..sampling import PosteriorSample
from .guides import GUIDES
from .models import MODELS
from .samples import check_described, describe_sample

__all__ = ["Description"]

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Description:
    """What it takes to make a model and its guide again, but for their tensors.

    Attributes:
        model: the kind of the model.
        arguments: what it was made with.
        priors: what :meth:`pyro_ugmm.models.Priors.description` says, or None.
        dtype: the name of its dtype.
        guide: the kind of the guide, or None.
        rank: the guide's, or None.
        frozen: names the parameters that are not to be learned.
        sample: what is said of the sample of its posterior, or None.
    """

    model: str
    arguments: dict[str, Any]
    priors: dict[str, Any] | None
    dtype: str
    guide: str | None
    rank: int | None
    frozen: list[str]
    sample: dict[str, Any] | None

    @classmethod
    def of(cls, model: Any, inference: AutoGuide | PosteriorSample | None) -> Self:
        """Describes a model, and a guide that has run, or a sample.

        Raises:
            ValueError: if a file cannot hold them.
        """
        kind = type(model).__name__
        is_known = kind in MODELS and MODELS[kind].kind is type(model)
        expected = f"one of {[*MODELS]} (of a DeepClassifier its head, and the body by torch.save)"
        check(is_known, "model", expected, kind)
        is_sample = isinstance(inference, PosteriorSample)
        guide: AutoGuide | None = None if is_sample else inference
        sample = describe_sample(cast(PosteriorSample, inference), model) if is_sample else None
        if guide is not None:
            its_kind = type(guide).__name__
            is_known = its_kind in GUIDES and GUIDES[its_kind].kind is type(guide)
            expected = f"one of {[*GUIDES]}, a sample or None (of an Ensemble each fit by itself)"
            check(is_known, "guide", expected, its_kind)
            has_run = guide.prototype_trace is not None
            check(has_run, "guide", "a fitted guide", "one that never ran")
        return cls(
            model=kind,
            arguments=model.arguments(),
            priors=None if model.priors is None else model.priors.description(),
            dtype=str(next(model.buffers()).dtype).removeprefix("torch."),
            guide=None if guide is None else type(guide).__name__,
            rank=getattr(guide, "rank", None),
            frozen=[name for name, p in model.named_parameters() if not p.requires_grad],
            sample=sample,
        )

    def to_json(self) -> str:
        """Returns it as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads a description, and checks its fields, but for arguments and priors.

        Raises:
            ValueError: if a field is missing, unknown or not valid; the message names it.
        """
        said = json.loads(text)
        check_fields("description", said, [field.name for field in fields(cls)])
        check_choice("model", said["model"], MODELS)
        check_fields("arguments", said["arguments"], MODELS[said["model"]].arguments)
        check_choice("dtype", said["dtype"], _DTYPES)
        if said["guide"] is not None:
            check_choice("guide", said["guide"], GUIDES)
        if said["rank"] is not None:
            check_integer("rank", said["rank"])
            check(said["guide"] is not None, "rank", "null, without a guide", repr(said["rank"]))
        frozen = said["frozen"]
        is_names = isinstance(frozen, list) and all(isinstance(name, str) for name in frozen)
        check(is_names, "frozen", "a list of names of parameters", repr(frozen))
        if said["sample"] is not None:
            check_described(said["sample"])
            check(said["guide"] is None, "guide", "null, beside a sample", repr(said["guide"]))
        return cls(**said)

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype itself."""
        return _DTYPES[self.dtype]
