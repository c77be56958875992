"""The package's own source, as modules, imports and classes, for tests of its structure."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Import:
    """One name that a module takes from another of the package."""

    module: str
    target: str
    name: str


@dataclass(frozen=True)
class Module:
    """A file of the package."""

    path: Path

    @cached_property
    def parts(self) -> tuple[str, ...]:
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return parts[:-1] if parts[-1] == "__init__" else parts

    @cached_property
    def name(self) -> str:
        return ".".join(self.parts)

    @cached_property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text())

    @property
    def n_lines(self) -> int:
        return len(self.path.read_text().splitlines())

    def classes(self) -> Iterator[tuple[str, int]]:
        """Names and lengths of classes, docstrings included."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ClassDef):
                yield node.name, (node.end_lineno or 0) - node.lineno + 1

    def imports(self, names: set[str]) -> Iterator[Import]:
        """What it takes from modules among ``names``, wherever it does."""
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            for alias in node.names:
                base = alias.name if isinstance(node, ast.Import) else self._base(node)
                inner = f"{base}.{alias.name}"
                target = inner if inner in names else base
                if target in names and target != self.name:
                    yield Import(self.name, target, alias.name)

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        up = node.level - 1 if self.is_package else node.level
        parts = self.parts[: len(self.parts) - up]
        return ".".join([*parts, *([node.module] if node.module else [])])


def modules(folder: str) -> dict[str, Module]:
    """All modules of a folder of the project, by name."""
    found = (Module(path) for path in sorted((ROOT / folder).rglob("*.py")))
    return {module.name: module for module in found}


def cycles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules each of which is reached from each other (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(edges.get(name, ())):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = []
            while not group or group[-1] != name:
                group.append(stack.pop())
            if len(group) > 1:
                groups.append(sorted(group))

    for name in sorted(edges):
        if name not in index:
            visit(name)
    return groups
