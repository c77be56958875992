"""The backends that there are."""

from .backend import Backend
from .compiled import Compiled
from .fused import Fused
from .textbook import Textbook
from .tiled import Tiled

__all__ = ["BACKENDS", "TEXTBOOK"]

TEXTBOOK = Textbook()
"""What takes everything, everywhere."""

BACKENDS: dict[str, Backend] = {one.name: one for one in (TEXTBOOK, Compiled(), Fused(), Tiled())}
"""By name. The first that suits what is to be evaluated, and can be used there, is taken; or the
first of all if none does."""
