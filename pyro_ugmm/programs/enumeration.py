"""Discrete latent sites, summed out by Pyro's enumeration and contraction."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch
from pyro import poutine
from pyro.ops.contract import contract_to_tensor
from pyro.ops.packed import unpack
from pyro.ops.rings import LogRing
from pyro.poutine.enum_messenger import EnumMessenger
from torch import Tensor

from . import log_einsum
from .plates import Term, by_plate, plates_of

__all__ = ["enumerated", "in_parallel", "summed_out"]


class _Enumeration(EnumMessenger):
    """Pyro's enumeration, where vmap runs it."""

    def _pyro_post_sample(self, msg: Any) -> None:
        value = msg["value"]  # of which Pyro looks at the data's shape, which vmap refuses
        msg["value"] = None if value is None else torch.empty(value.shape, device="meta")
        super()._pyro_post_sample(msg)
        msg["value"] = value


def in_parallel(model: Callable, sites: Collection[str]) -> Callable:
    """A program that asks for the enumeration of discrete sites."""

    def asked(site: Any) -> dict[str, str]:
        return {"enumerate": "parallel"} if site["name"] in sites else {}

    return poutine.infer_config(model, asked)


def enumerated(model: Callable, sites: Collection[str], n_plate_dims: int) -> Callable:
    """A program whose discrete sites take all of their values, each in a dimension of its own."""
    return _Enumeration(-1 - n_plate_dims)(in_parallel(model, sites))


def summed_out(
    trace: poutine.Trace, factors: Sequence[str], observed: Collection[str]
) -> tuple[Tensor, dict[str, Term]]:
    r"""The log prior, :math:`\log \sum_z p(\theta, z)`, and what observed sites add to it.

    Sites that depend on the same discrete ones make one term, for each of the plates that they
    have in common.

    Args:
        trace: of an enumerated program, with its log densities.
        factors: the sites that have a density.
        observed: the observed ones among them.
    """
    trace.pack_tensors()
    contraction = _Contraction(trace)
    log_prior, terms = trace.nodes[factors[0]]["log_prob"].new_zeros(()), {}
    for names in contraction.components(factors):
        seen = [name for name in names if name in observed]
        latent = contraction.total([name for name in names if name not in seen], names)
        log_prior = log_prior + latent.value.sum()
        if seen:
            whole = contraction.total(names, names)
            own = [frame.name for frame in plates_of(trace.nodes[seen[0]])]
            by = "" if [*whole.plates] == own else f" by {' and '.join(whole.plates) or 'all'}"
            terms[" + ".join(seen) + by] = whole._replace(value=whole.value - latent.value)
    return log_prior, terms


class _Ring(LogRing):
    _backend = log_einsum.__name__


class _Contraction:
    """Sums over the dimensions of discrete sites."""

    def __init__(self, trace: poutine.Trace) -> None:
        self._trace, self._symbols = trace, trace.plate_to_symbol
        self._dims = {*trace.symbol_to_dim} - {*self._symbols.values()}
        frames = [frame for node in trace.nodes.values() for frame in _frames(node)]
        self._frames = {self._symbols[frame.name]: frame for frame in frames}

    def components(self, factors: Sequence[str]) -> Iterator[list[str]]:
        """The sites that discrete ones connect."""
        components: list[tuple[list[str], set[str]]] = []
        for name in factors:
            dims = self._dims & {*self._packed(name)._pyro_dims}
            apart = [part for part in components if not part[1] & dims]
            joined = [part for part in components if part[1] & dims]
            names = [other for part in joined for other in part[0]]
            components = [*apart, ([*names, name], dims.union(*(part[1] for part in joined)))]
        return (sorted(names, key=factors.index) for names, _ in components)

    def _packed(self, name: str) -> Any:
        return self._trace.nodes[name]["packed"]["log_prob"]

    def _ordinal(self, name: str) -> frozenset[str]:
        return frozenset(self._symbols[frame.name] for frame in _frames(self._trace.nodes[name]))

    def total(self, names: Sequence[str], component: Sequence[str]) -> Term:
        """The log of the sum over discrete sites, for each of a component's common plates."""
        ordinal = frozenset.intersection(*map(self._ordinal, component))
        like = self._packed(component[0])
        tree: OrderedDict[frozenset[str], list[Any]] = OrderedDict()
        for name in names:
            tree.setdefault(self._ordinal(name), []).append(self._packed(name))
        frames = sorted((self._frames[one] for one in ordinal), key=lambda frame: frame.dim)
        if not names:
            return by_plate(like.new_zeros(()), frames)
        ring = _Ring(dim_to_size={symbol: f.size for symbol, f in self._frames.items()})
        total = contract_to_tensor(tree, {*self._dims}, ordinal, ring=ring)
        return by_plate(unpack(total, self._trace.symbol_to_dim), frames)


def _frames(node: Any) -> list[Any]:
    return plates_of(node) if node["type"] == "sample" else []
