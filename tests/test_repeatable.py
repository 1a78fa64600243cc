"""No test depends on luck: hypothesis draws the same examples everywhere, generators have seeds."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

UNSEEDED = re.compile(
    r"default_rng\(\)|derandomize=False|hypothesis\.seed|"
    r"\bnp\.random\.(rand|randn|randint|normal|uniform|choice|permutation|shuffle)\(|"
    r"(?<![\w.])random\.(random|randint|choice|shuffle|sample|uniform)\("
)


def drawn_examples():
    examples = []

    @settings(max_examples=20)
    @given(st.integers(), st.text())
    def draw(number, text):
        examples.append((number, text))

    draw()
    return examples


def test_hypothesis_draws_the_same_examples_twice():
    assert drawn_examples() == drawn_examples()
    assert settings().derandomize
    assert settings().deadline is None


def test_no_test_draws_without_a_seed(repository):
    assert UNSEEDED.search("rng = np.random.default_rng()")
    found = [
        f"{path.name}: {match[0]}"
        for path in sorted((repository / "tests").rglob("*.py"))
        if path.name != "test_repeatable.py"
        for match in UNSEEDED.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not found
