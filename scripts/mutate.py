"""Change one token of a package's code at a time and say which changes its tests do not notice.

    python scripts/mutate.py [PACKAGE ...] [--sample N] [--seed N] [--only PATTERN]

mutmut makes the changes and runs the tests, in a copy under ``build/mutation``, one process, at
the lowest priority. A change meets the module's own tests alone: ``test_MODULE.py``, or that of the
first word of its name; where there is none, the test files of the package that import it; where
none does, the tests of the modules beside it that do; else all of the package. Left out of what
mutmut makes: whole arguments and values taken away, texts, and ``strict=`` of zip. Constants of a
module, decorated functions (properties) and classes within classes are left alone by mutmut itself.

Not part of the tests: what comes out is read by a person, who decides whether a change that lives
is one that nobody can notice or a missing assertion.
"""

import argparse
import ast
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
WORKSPACE = REPOSITORY / "build" / "mutation"
PACKAGES = ["metrics", "losses", "data"]
NOTICED = {"killed", "timeout"}
PATIENCE = 300  # seconds for the tests of a change that runs in place
_LAYOUT = {tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT}


@dataclass(frozen=True)
class Change:
    """A change of one token: mutmut's name for it, and the line as it was and as it became."""

    mutant: str
    module: Path
    line: int
    before: str
    after: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packages", nargs="*", default=PACKAGES, metavar="PACKAGE")
    parser.add_argument("--sample", type=int, help="changes a package, drawn at random; all")
    parser.add_argument("--seed", type=int, default=0, help="of the drawing")
    parser.add_argument("--only", default="", help="modules whose names match this pattern alone")
    arguments = parser.parse_args()
    only = re.compile(arguments.only)
    prepare_workspace([], ())
    os.chdir(WORKSPACE)  # mutmut reads its settings where it stands, as soon as it is imported
    for package in arguments.packages:
        folder = REPOSITORY / "mtn_core" / package
        if not folder.is_dir():
            parser.error(f"no package {package!r} in mtn_core")
        modules = [path for path in sorted(folder.glob("*.py")) if only.search(path.stem)]
        changes = [change for module in modules for change in changes_of(module)]
        if arguments.sample is not None and arguments.sample < len(changes):
            changes = random.Random(arguments.seed).sample(changes, arguments.sample)
        results = run(changes)
        counts = ", ".join(f"{n} {what}" for what, n in Counter(results.values()).most_common())
        noticed = sum(status in NOTICED for status in results.values()) / max(len(changes), 1)
        print(f"\n{package}: {noticed:.1%} of {len(changes)} changes noticed ({counts})\n")
    return 0


def changes_of(module: Path) -> list[Change]:
    """Every change of one token that mutmut makes of a module."""
    from mutmut.mutation.file_mutation import mangle_function_name, mutate_file_contents

    source = module.read_text(encoding="utf-8")
    mutated = mutate_file_contents(str(module), source)
    lines = mutated.code.splitlines(keepends=True)
    functions = {}
    for node in ast.parse(source).body:
        class_name = node.name if isinstance(node, ast.ClassDef) else None
        for function in node.body if class_name else [node]:
            if isinstance(function, ast.FunctionDef):
                name = mangle_function_name(name=function.name, class_name=class_name)
                functions[name] = function

    def tokens_of(function: str) -> list[tokenize.TokenInfo]:
        span = mutated.line_span_by_function_name[function]
        text = "if 1:\n" + "".join(lines[span.start - 1 : span.end])
        if not text.partition("\n")[2].lstrip("\n").startswith(" "):
            text = text.removeprefix("if 1:\n")
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
        name = next(i for i, token in enumerate(tokens) if token.string == function)
        return [token for token in tokens[name - 1 :] if token.type not in _LAYOUT]

    dotted = ".".join(module.relative_to(REPOSITORY).with_suffix("").parts)
    changes = []
    for mutant in mutated.mutant_names:
        mangled = mutant.partition("__mutmut_")[0]
        old, new = tokens_of(f"{mangled}__mutmut_orig"), tokens_of(mutant)
        token = one_token(old, new)
        if token is not None:
            shift = token.start[0] - old[0].start[0]
            line = functions[mangled].lineno + shift
            before = source.splitlines()[line - 1]
            after = next(t.line for t in new if t.start[0] - new[0].start[0] == shift)
            after = after.replace(mutant, functions[mangled].name)
            changes.append(
                Change(
                    f"{dotted.removesuffix('.__init__')}.{mutant}",
                    module.relative_to(REPOSITORY),
                    line,
                    before.strip(),
                    after.splitlines()[0].strip(),
                )
            )
    return changes


def one_token(
    old: list[tokenize.TokenInfo], new: list[tokenize.TokenInfo]
) -> tokenize.TokenInfo | None:
    """The token that changed, where it is one, neither text nor a value taken away."""
    start = 2  # behind "def" and the name, which says which change it is
    while start < min(len(old), len(new)) and old[start].string == new[start].string:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end].string == new[-1 - end].string:
        end += 1
    was, became = old[start : len(old) - end], new[start : len(new) - end]
    if max(len(was), len(became)) != 1:
        return None
    token = (was or became)[0]
    if was and became:
        wanted = token.type != tokenize.STRING and became[0].string not in ("None", '""')
    else:  # "not" or "~" taken away, or put before "in" or behind "is"
        wanted = token.string in ("not", "~")
    if not wanted or [t.string for t in old[start - 2 : start]] == ["strict", "="]:
        return None
    return old[start]


def own_tests(module: Path) -> tuple[str, ...]:
    """The test files whose task it is to notice a change of the module."""
    folder = REPOSITORY / "tests" / Path(*module.parts[1:-1])
    imports = re.compile(rf"\.{module.stem} import|import [^\n]*\b{module.stem}\b")

    def importers(files: Iterable[Path]) -> list[Path]:
        return [f for f in sorted(files) if imports.search(f.read_text(encoding="utf-8"))]

    first_word = module.stem.partition("_")[0]
    own = [path for s in (module.stem, first_word) if (path := folder / f"test_{s}.py").is_file()]
    found = own[:1] or importers(folder.glob("test_*.py"))
    if not found:
        users = importers((REPOSITORY / module.parent).glob("*.py"))
        found = [path for user in users if (path := folder / f"test_{user.stem}.py").is_file()]
    return tuple(str(path.relative_to(REPOSITORY)) for path in found or [folder])


def run(changes: list[Change]) -> dict[str, str]:
    """What became of each change, by mutmut's name; those that live are printed."""
    groups = defaultdict(list)
    for change in changes:
        groups[own_tests(change.module)].append(change)
    results = {}
    for tests, group in sorted(groups.items()):
        modules = sorted({str(change.module) for change in group})
        print(f"\n{len(group)} changes of {', '.join(modules)}: {' '.join(tests)}", flush=True)
        prepare_workspace(modules, tests)
        names = {change.mutant for change in group}
        done = mutmut("run", "--max-children", "1", *sorted(names))
        listed = re.findall(r"^\s*(\S+): (.+)$", mutmut("results", "--all", "true").stdout, re.M)
        found = {name: status for name, status in listed if name in names}
        if set(found.values()) <= {"not checked"}:
            sys.exit(f"mutmut ran nothing:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        for change in sorted(group, key=lambda change: (change.module, change.line)):
            status = found.get(change.mutant)
            if status not in ("killed", "survived"):
                status = found[change.mutant] = run_in_place(change, tests)
            if status not in NOTICED:
                print(f"\n{change.module}:{change.line}: {status}")
                print(f"- {change.before}\n+ {change.after}", flush=True)
        results |= found
    return results


def run_in_place(change: Change, tests: tuple[str, ...]) -> str:
    """Try a change of which mutmut knows too little.

    Where it saw no test reach the change, the tests may start a process that does; and where its
    forked process ran into a limit or crashed, that may be the fork's fault and not the change's.
    """
    path = WORKSPACE / change.module
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines(keepends=True)
    lines[change.line - 1] = lines[change.line - 1].replace(change.before, change.after)
    path.write_text("".join(lines), encoding="utf-8")
    command = ["timeout", str(PATIENCE), sys.executable, "-m", "pytest", "-x", "-p", "no:xdist"]
    done = run_quietly([*command, *tests], ".")
    path.write_text(source, encoding="utf-8")
    other = {0: "survived", 4: "not run", 5: "not run", 124: "timeout"}
    return other.get(done.returncode, "killed")


def prepare_workspace(modules: list[str], tests: tuple[str, ...]) -> None:
    """A copy of what git knows, with mutmut's settings for these modules and tests."""
    shutil.rmtree(WORKSPACE, ignore_errors=True)
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(listing, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (WORKSPACE / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, WORKSPACE / name)
    # Python forgets for good a folder on its path that is not there when it starts.
    (WORKSPACE / "mutants").mkdir()
    settings = {
        "source_paths": ["mtn_core"],
        "only_mutate": modules,
        "pytest_add_cli_args_test_selection": list(tests),
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "-p", "no:xdist"],
        # Forked from a process in which no test ran: those of MindSpore leave threads behind.
        "process_isolation": "forkserver",
        "also_copy": ["scripts", "notebooks", "README.md", "README_CN.md", "docs", "reports"],
    }
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in settings.items()]
    with open(WORKSPACE / "pyproject.toml", "a", encoding="utf-8") as file:
        file.writelines(["\n[tool.mutmut]\n", *lines])


def mutmut(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_quietly([Path(sys.executable).with_name("mutmut"), *arguments], "mutants")


def run_quietly(command: list, folder: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the workspace, the package and that of its processes from one folder."""
    data = os.environ.get("MTN_SHARED_DATA", REPOSITORY.parent / "shared" / "data")
    environment = os.environ | {
        "MTN_SHARED_DATA": str(data),
        "PYTHONPATH": str(WORKSPACE / folder),
    }
    command = ["nice", "-n", "19", *command]
    return subprocess.run(command, cwd=WORKSPACE, env=environment, capture_output=True, text=True)


if __name__ == "__main__":
    sys.exit(main())
