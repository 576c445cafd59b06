"""Who imports whom in the package, read from its sources."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from unlearnkit.paths import ROOT

PACKAGE = ROOT / "unlearnkit"


@cache
def modules() -> dict[str, Path]:
    """Every module of the package, by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a tree, inside functions too, but for imports that only type checkers see."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield from nodes(child)


def imported(module: str, source: str) -> set[str]:
    """Names of the modules that a source imports, of this package or another, as far as is known."""
    found = set()
    package = module if modules()[module].stem == "__init__" else module.rpartition(".")[0]
    for node in nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parts, *filter(None, [node.module])])
            whole = (f"{base}.{alias.name}" for alias in node.names)
            found |= {name if name in modules() else base for name in whole}
    return found - {module}


@cache
def graph() -> dict[str, set[str]]:
    """What each module imports."""
    return {name: imported(name, path.read_text()) for name, path in modules().items()}


def reached(start: str) -> set[str]:
    """All modules that importing one imports, with the packages that these lie in."""
    found, left = set(), [start]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            parents = {".".join(name.split(".")[:k]) for k in range(1, name.count(".") + 1)}
            left += graph().get(name, set()) | (parents & set(graph()))
    return found


def circle(edges: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, the first one found; [] where there is none."""
    done, way = set(), []

    def visit(name: str) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done or name not in edges:
            return []
        way.append(name)
        found = next(filter(None, map(visit, sorted(edges[name]))), [])
        way.pop()
        done.add(name)
        return found

    return next(filter(None, map(visit, edges)), [])
