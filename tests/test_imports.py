"""Packages import in one direction, and what reads results never needs MindSpore."""

import ast
import graphlib

import pytest

# From bottom to top; the single modules are the words and the ground that packages stand on.
LAYERS = [
    *("blas", "environment", "errors", "cuda", "files", "normalisation", "progress"),
    *("strict_yaml", "vehicle", "viewpoint", "provenance", "pixel_limit", "config", "device"),
    "runs",
    *("metrics", "losses", "models", "data", "synthveri", "convert", "results", "predict", "viz"),
    *("engine", "export", "report", "pose", "gallery", "serve", "jobs", "track", "tune", "doctor"),
    *("commands", "cli", "__main__"),
]


def imports_of(path, modules):
    """Modules of the package that a file imports, those inside its functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in modules else node.module for name in names)


@pytest.fixture(scope="module")
def edges(repository):
    folder = repository / "mtn_core"
    files = {}
    for path in folder.rglob("*.py"):
        parts = path.relative_to(repository).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {name: set(imports_of(path, files)) - {name} for name, path in files.items()}


def within(edges):
    return {
        name: {target for target in targets if target in edges and target != "mtn_core"}
        for name, targets in edges.items()
        if name != "mtn_core"
    }


def layer(module):
    return LAYERS.index(module.split(".")[1])


def test_no_file_imports_in_a_circle(edges):
    list(graphlib.TopologicalSorter(within(edges)).static_order())


def test_no_package_imports_from_above(edges):
    upward = [
        f"{name} imports {target}"
        for name, targets in within(edges).items()
        for target in targets
        if layer(target) > layer(name)
    ]
    assert not upward


@pytest.mark.parametrize("package", ["metrics", "results", "viz", "report", "track"])
def test_reading_results_needs_no_mindspore(edges, package):
    seen, todo = set(), [n for n in edges if n.split(".")[1:2] == [package]]
    while todo:
        module = todo.pop()
        assert not any(t.split(".")[0] == "mindspore" for t in edges[module]), module
        seen.add(module)
        todo += [t for t in within(edges)[module] if t not in seen]
