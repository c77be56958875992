"""Data as users hold them: one class for each kind, which EM and training read alike."""

from .batches import Batches, Batching
from .kinds import SOURCES, source_of
from .shared_batches import SharedBatches
from .source import Part, Source

__all__ = ["SOURCES", "Batches", "Batching", "Part", "SharedBatches", "Source", "source_of"]
