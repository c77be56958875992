"""What modules derive from their buffers, kept as long as these hold the same numbers."""

from collections.abc import Callable

import torch

from ..kept import Kept

__all__ = ["DerivedModule"]


class DerivedModule(torch.nn.Module):
    """A module whose distributions depend on its buffers alone.

    They are wanted at every step of a training, and buffers change only when the module is moved
    or loaded, or by the user's hand.
    """

    _kept: Kept | None = None

    def _derive(self, build: Callable[[], dict]) -> dict:
        """Returns what ``build`` returns, from the last time if the buffers hold the same.

        It may be wanted again where gradients are, so none of it is made in inference mode.
        """
        if self._kept is None:
            self._kept = Kept()
        return dict(
            self._kept.get("derived", [*self.buffers()], torch.inference_mode(False)(build))
        )

    def forget(self) -> None:
        """Derives all anew when it is wanted next."""
        self._kept = None
