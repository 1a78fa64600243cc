"""Docstrings speak of the arguments that there are, and public functions of arrays say shapes."""

import ast

import pytest

SECTION = ("Args:", "Returns:", "Raises:", "Attributes:", "Source:", "Yields:")


def functions(repository):
    for path in sorted((repository / "mtn_core").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            owners = [node] if isinstance(node, ast.FunctionDef) else []
            if isinstance(node, ast.ClassDef) and ast.get_docstring(node):
                init = [f for f in node.body if getattr(f, "name", "") == "__init__"]
                yield path, node.name, ast.get_docstring(node), init[0] if init else None
            for function in owners:
                if ast.get_docstring(function):
                    yield path, function.name, ast.get_docstring(function), function


def documented(text):
    """Names in the section ``Args:``, or None without one."""
    lines = text.splitlines()
    if "Args:" not in lines:
        return None
    names = []
    for line in lines[lines.index("Args:") + 1 :]:
        if line.strip() in SECTION or (line and not line.startswith(" ")):
            break
        if line.startswith("    ") and not line.startswith("     "):
            names.append(line.strip().partition(":")[0].lstrip("*"))
    return names


def parameters(function):
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    every += [a for a in (arguments.vararg, arguments.kwarg) if a]
    return [a.arg for a in every if a.arg not in ("self", "cls")]


def test_arguments_are_those_of_the_signature(repository):
    wrong = []
    for path, name, text, function in functions(repository):
        described = documented(text)
        if described is None or function is None:
            continue
        if described != parameters(function):
            wrong.append(f"{path.name}: {name}: {described} for {parameters(function)}")
    assert not wrong


@pytest.mark.parametrize("package", ["metrics", "predict", "results"])
def test_public_functions_of_arrays_state_shapes(repository, package):
    silent = []
    for path, name, text, function in functions(repository / "."):
        if path.parts[-2] != package or function is None or name.startswith("_"):
            continue
        annotations = [a.annotation for a in function.args.args + function.args.kwonlyargs]
        arrays = [a for a in annotations if a is not None and ast.unparse(a) == "np.ndarray"]
        if arrays and "``(" not in text and not text.startswith("See "):
            silent.append(f"{path.name}: {name}")
    assert not silent
