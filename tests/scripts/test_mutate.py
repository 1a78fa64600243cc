"""What `scripts/mutate.py` counts as a change of one token, and which tests a change meets."""

import importlib.util
import sys
from pathlib import Path

import pytest

MODULE = '''"""A module."""

LIMIT = 3


class Box:
    def holds(self, item, *, strictly=False):
        # A comment between.
        if item is None or not self.items:
            return None
        return item in self.items


def share(values, weights):
    pairs = zip(values, weights, strict=True)
    name = "share"
    return sum(v * w for v, w in pairs) / len(values)
'''


@pytest.fixture
def mutate(repository, tmp_path, monkeypatch):
    """The script, in a repository of its own."""
    pytest.importorskip("mutmut")
    file = repository / "scripts" / "mutate.py"
    specification = importlib.util.spec_from_file_location("mutate", file)
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "mutate", module)  # where its dataclass looks for itself
    specification.loader.exec_module(module)
    monkeypatch.setattr(module, "REPOSITORY", tmp_path)
    (tmp_path / "pyproject.toml").write_text('[tool.mutmut]\nsource_paths = ["mtn_core"]\n')
    (tmp_path / "mtn_core" / "part").mkdir(parents=True)
    (tmp_path / "tests" / "part").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return module


def test_changes_are_of_one_token_and_say_where(mutate):
    path = mutate.REPOSITORY / "mtn_core" / "part" / "box.py"
    path.write_text(MODULE)
    changes = mutate.changes_of(path)
    assert {(change.line, change.after) for change in changes} == {
        (7, "def holds(self, item, *, strictly=True):"),
        (9, "if item is not None or not self.items:"),
        (9, "if item is None and not self.items:"),
        (9, "if item is None or self.items:"),
        (11, "return item not in self.items"),
        (17, "return sum(v / w for v, w in pairs) / len(values)"),
        (17, "return sum(v * w for v, w in pairs) * len(values)"),
    }
    assert all(change.before == MODULE.splitlines()[change.line - 1].strip() for change in changes)
    assert all(change.mutant.startswith("mtn_core.part.box.x") for change in changes)
    assert {change.module for change in changes} == {Path("mtn_core/part/box.py")}


def test_a_module_meets_its_own_tests(mutate):
    folder = mutate.REPOSITORY / "tests" / "part"
    (folder / "test_box.py").write_text("from mtn_core.part.lid import close\n")
    (folder / "test_knots.py").write_text("from mtn_core.part import box, rope\n")
    (folder / "test_seams.py").write_text("from mtn_core.part.rope import tie\n")
    part = Path("mtn_core/part")
    assert mutate.own_tests(part / "box.py") == ("tests/part/test_box.py",)
    assert mutate.own_tests(part / "rope.py") == (
        "tests/part/test_knots.py",
        "tests/part/test_seams.py",
    )
    assert mutate.own_tests(part / "box_worker.py") == ("tests/part/test_box.py",)
    assert mutate.own_tests(part / "nail.py") == ("tests/part",)
    (mutate.REPOSITORY / part / "box.py").write_text("from mtn_core.part.nail import hammer\n")
    (mutate.REPOSITORY / part / "rope.py").write_text("from mtn_core.part.nail import hammer\n")
    assert mutate.own_tests(part / "nail.py") == ("tests/part/test_box.py",)
