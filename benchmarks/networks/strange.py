"""Rows that are unlike those learned from."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from .data import DATA, Split, patch_rows

__all__ = ["LEFT_OUT", "strange_rows"]

LEFT_OUT = "left-out class"
_PHOTOGRAPH, _TABLE, _NEXT_TABLE = "china.jpg", "breast cancer", "wine"
_SCALE = 3.0
_GENERATOR_SEED = 0


def strange_rows(part: Split) -> dict[str, Tensor]:
    """Each kind, made of the rows left out, in the units of those learned from."""
    made = _of_any(part) | (_of_tables(part) if part.test.side is None else _of_images(part))
    return made


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(_GENERATOR_SEED)


def _of_any(part: Split) -> dict[str, Tensor]:
    """Columns in another order, and values that are uniform between the extremes."""
    x, train = part.units.standardized(part.test.x), part.known.x
    low, high = train.amin(0), train.amax(0)
    if part.test.side is not None:
        low, high = low.amin(), high.amax()
    noise = low + (high - low) * torch.rand(x.shape, generator=_generator())
    return {"permuted": x[:, torch.randperm(x.shape[1], generator=_generator())], "noise": noise}


def _of_tables(part: Split) -> dict[str, Tensor]:
    """Rows three times as far from the center; and those of another table, in its own units."""
    x = part.units.standardized(part.test.x)
    made, other = {"scaled": _SCALE * x}, DATA[_TABLE]().x
    if x.shape == other[: len(x)].shape:
        other = DATA[_NEXT_TABLE]().x
    if other.shape[1] >= x.shape[1]:
        own = (other - other.mean(0)) / other.std(0)
        made["another data set"] = own[: len(x), : x.shape[1]]
    return made


def _of_images(part: Split) -> dict[str, Tensor]:
    """Images turned, shifted by a quarter, blurred, inverted; and pieces of a photograph."""
    side = part.test.side
    assert side is not None
    x, black, white = part.test.x, part.train.x.min(), part.train.x.max()
    images, step = x.reshape(-1, side, side), side // 4
    moved = pad(images, (step, 0, step, 0), value=float(black))[:, :side, :side]
    width = 2 * (side // 8) + 1
    smooth = avg_pool2d(images.unsqueeze(1), width, 1, width // 2).squeeze(1)
    photograph = patch_rows(_PHOTOGRAPH, side, len(x)) / 255
    made = {
        "turned": images.rot90(1, (1, 2)),
        "shifted": moved,
        "blurred": smooth,
        "inverted": black + white - images,
        "another data set": black + (white - black) * photograph,
    }
    return {name: part.units.standardized(one.reshape(len(x), -1)) for name, one in made.items()}
