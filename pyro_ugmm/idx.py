"""Files in the IDX format, in which MNIST and its like are published."""

import gzip
import math
import os
import struct
from pathlib import Path

import torch
from torch import Tensor

from .checks import check

__all__ = ["read_idx"]

_UNSIGNED_BYTES = 0x08


def read_idx(path: str | os.PathLike) -> Tensor:
    """Reads an IDX file of unsigned bytes, compressed by gzip or not.

    Source: LeCun, Cortes and Burges, *The MNIST database of handwritten digits*.

    Raises:
        ValueError: if it is not such a file, or a damaged one.
    """
    name, content = Path(path).name, Path(path).read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, ValueError) as error:
            raise ValueError(f"{name}: expected a whole gzip file, got {error}") from error
    magic = content[:4]
    valid = len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] == _UNSIGNED_BYTES and magic[3]
    expected = "an IDX file of unsigned bytes (magic number 0x000008 and the dimensions)"
    check(valid, name, expected, f"magic number 0x{magic.hex()}")
    start = 4 + 4 * magic[3]
    check(len(content) >= start, name, f"a header of {start} bytes", f"{len(content)} bytes")
    shape = struct.unpack(f">{magic[3]}I", content[4:start])
    n_values = math.prod(shape)
    said = f"{' x '.join(map(str, shape))} = {n_values} values, as its header says"
    check(len(content) - start == n_values, name, said, f"{len(content) - start} (truncated?)")
    return torch.frombuffer(bytearray(content[start:]), dtype=torch.uint8).reshape(shape)
