r"""Bounds on distances, which carry over from step to step and leave components out of the E-step.

Let :math:`d(x) = |L^{-1} (x - \mu)|` be the Mahalanobis distance of a row from a component, with
the Cholesky factor :math:`L` of its covariance. When the component moves to :math:`\mu', L'`, with
the singular values :math:`\sigma` of :math:`L'^{-1} L` and :math:`\delta = |L^{-1} (\mu' - \mu)|`,

.. math:: \sigma_{\min} (d(x) - \delta) \le d'(x) \le \sigma_{\max} (d(x) + \delta),

by the triangle inequality and
:math:`L'^{-1} (x - \mu') = (L'^{-1} L) \, L^{-1} (x - \mu')`. Both sides compose over steps: a pair
of row and component stays unevaluated for as long as what is known of it shows that

.. math:: \log w_k \mathcal{N}(x \mid \mu_k, \Sigma_k) \le
    \log w_b \mathcal{N}(x \mid \mu_b, \Sigma_b) + \log \left( 10^{-3} \, \varepsilon \, w_k \right)

with the component :math:`b` whose joint density was the row's largest when it was last read. The
M-step leaves such a pair out (:mod:`~pyro_ugmm.em.products`), and all that are left out are less
than :math:`10^{-3} \, \varepsilon` of the row's density.

Source: Elkan (2003), *Using the triangle inequality to accelerate k-means*, whose bounds these are
but for the components' metrics; mixtures leave components out by bounds on their densities in Moore
(1999), *Very fast EM-based mixture model clustering using multiresolution kd-trees*.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from ..distributions.blocks import BlockEvaluator, CenteredForm, NaturalForm, Scratch
from ..distributions.components import Components
from .bounds_call import BoundedPairs, Moves, Parameters, evaluate_pairs
from .products import BELOW_ROUNDING

__all__ = ["BoundedEvaluator", "Place", "moves_between", "nothing_known"]

_ROUNDING = 1e-6  # of single precision, in which bounds are kept, and then some
_BLOCK_BYTES = 3 << 20
_FEWEST_ROWS, _MOST_ROWS = 256, 8192


@dataclass(frozen=True, eq=False)
class Place:
    """Where components are, in double precision.

    Attributes:
        means: ``(S K, D)``.
        whitener: the inverses of the covariances' Cholesky factors, ``(S K, D, D)``.
    """

    means: Tensor
    whitener: Tensor

    @classmethod
    def of(cls, components: Components) -> Self:
        """The place of components."""
        whitener = components.covariance.whitener(len(components.means))
        return cls(components.means.double(), whitener.double())


def moves_between(before: Place, after: Place) -> Moves:
    """Returns how distances from components before bound those from the components after."""
    product = torch.linalg.solve_triangular(
        before.whitener, after.whitener, upper=False, left=False
    )
    squares = product @ product.mT
    is_sound = squares.isfinite().all(-1).all(-1)
    eigenvalues = torch.linalg.eigvalsh(squares.where(is_sound[:, None, None], 0))
    least, most = eigenvalues[:, 0], eigenvalues[:, -1].where(is_sound, math.inf)
    error = squares.shape[-1] * torch.finfo(squares.dtype).eps * most
    shift = before.whitener @ (after.means - before.means).unsqueeze(-1)
    return Moves(
        nearer=((1 - _ROUNDING) * (least - error).clamp(min=0).sqrt()).float(),
        farther=((1 + _ROUNDING) * (most + error).sqrt()).float(),
        shift=((1 + _ROUNDING) * shift.squeeze(-1).norm(dim=-1)).float(),
    )


def nothing_known(n_restarts: int, n_components: int, n_rows: int) -> BoundedPairs:
    """Bounds of rows and the components of all restarts, which leave no pair out."""
    return BoundedPairs(
        least=torch.zeros(n_components, n_rows),
        most=torch.full((n_restarts, n_rows), math.inf),
        best=torch.zeros(n_restarts, n_rows, dtype=torch.int32),
    )


class BoundedEvaluator:
    """Evaluates the pairs of rows and components that bounds do not leave out, block by block.

    It stands for a :class:`~pyro_ugmm.distributions.blocks.BlockEvaluator`, in one reading of all
    rows in their order.

    Args:
        components: of all restarts.
        plain: who evaluates all pairs.
        pairs: what is known of them and all rows, which changes as rows are evaluated.
        place: where they are.
        moves: how they got there since the pairs were known.

    Attributes:
        parts: the plain evaluator's.
        n_read: the rows evaluated so far.
        n_evaluated: their pairs with components that were.
    """

    def __init__(
        self,
        components: Components,
        plain: BlockEvaluator,
        pairs: BoundedPairs,
        place: Place,
        moves: Moves,
    ) -> None:
        self.parts, self._center = plain.parts, plain.center
        self.pairs, self.place, self._moves = pairs, place, moves
        covariance, means = components.covariance, components.means
        n_features, eps = means.shape[1], torch.finfo(means.dtype).eps
        at_mean = -0.5 * (
            covariance.log_determinant(n_features) + n_features * math.log(2 * math.pi)
        )
        self._parameters = Parameters(
            means.contiguous(),
            covariance.whitener(len(means)).contiguous(),
            components.log_weights + at_mean,
            2 * (at_mean - math.log(BELOW_ROUNDING * eps)),
        )
        self.n_read = self.n_evaluated = 0

    @property
    def rows_per_block(self) -> int:
        """How many rows a block should have."""
        n_components, n_features = self._parameters.means.shape
        per_row = self._center.itemsize * (n_components + n_features + 1)
        rows = max(_FEWEST_ROWS, _BLOCK_BYTES // per_row)
        return min(1 << rows.bit_length() - 1, _MOST_ROWS)

    @property
    def share(self) -> float:
        """How many of the pairs read so far were evaluated."""
        return self.n_evaluated / max(1, self.n_read * len(self._parameters.means))

    def log_joint(self, x: Tensor, scratch: Scratch) -> tuple[Tensor, list[Tensor]]:
        """Evaluates the next rows, ``(D, B)``, shape ``(S K, B)``; also returns what each form
        does, but of terms the first ones only: one and the entries, ``(1 + D, B)``.
        """
        rows = x.T.contiguous()
        joint = scratch.empty(self, "joint", rows, len(self._parameters.means), len(rows))
        self.n_evaluated += evaluate_pairs(
            rows, self._parameters, self._moves, self.pairs, self.n_read, joint
        )
        self.n_read += len(rows)
        return joint, [self._left(form, rows, scratch) for _, form in self.parts]

    def _left(self, form: NaturalForm | CenteredForm, rows: Tensor, scratch: Scratch) -> Tensor:
        if isinstance(form, CenteredForm):
            return form.deviations(rows.T, scratch)
        terms = scratch.empty(self, "terms", rows, len(rows), rows.shape[1] + 1)
        terms[:, 0] = 1
        torch.sub(rows, self._center, out=terms[:, 1:])
        return terms.T
