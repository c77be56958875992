"""Safetensors files that are written whole, and tell whether they still are when read."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from .checks import check
from .files import target_of, write_atomically
from .fingerprints import fingerprint

__all__ = ["SafetensorsFile", "read_safetensors", "write_safetensors"]


@dataclass(frozen=True)
class SafetensorsFile:
    """What a file says, and its tensors on the CPU, of which nothing stays mapped to it."""

    metadata: dict[str, str]
    tensors: dict[str, Tensor]

    def check_digest(self) -> None:
        """Raises a ``ValueError`` unless the digest is of all that the file says and holds."""
        digest, claimed = _digest(self.metadata, self.tensors), self.metadata.get("digest")
        check(claimed == digest, "digest", digest, claimed)


def write_safetensors(
    path: str | os.PathLike, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Writes tensors, and beside what is said of them a digest of all, atomically."""
    from safetensors.torch import save

    contents = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(contents, {**metadata, "digest": _digest(metadata, contents)}))


def read_safetensors(
    path: str | os.PathLike, expected: str = "a safetensors file"
) -> SafetensorsFile:
    """Reads a file, whose digest the caller has to check once it knows what else is wrong.

    Args:
        path: the file.
        expected: what the caller expects to find.

    Raises:
        ValueError: if it is no safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    contents = target_of("path", path).read_bytes()
    try:
        tensors = load(contents)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise ValueError(f"path: expected {expected}, got {path}: {error}") from error
    size = int.from_bytes(contents[:8], "little")
    return SafetensorsFile(json.loads(contents[8 : 8 + size]).get("__metadata__") or {}, tensors)


def _digest(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    said = {name: value for name, value in metadata.items() if name != "digest"}
    return fingerprint(sorted(said.items()), sorted(tensors.items()))
