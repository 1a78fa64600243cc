"""The parser: groups, examples that parse, the nearest name, no flag twice."""

import argparse
import shlex

import pytest

from mtn_core.cli import main
from mtn_core.commands.parser import GROUPS, CommandParser, Commands, create_parser


def parsers():
    (commands,) = [a for a in create_parser()._actions if isinstance(a, Commands)]
    return commands.choices


@pytest.fixture(scope="module")
def commands():
    return parsers()


@pytest.fixture
def small():
    """Two commands, of a group and of none."""
    parser = CommandParser(prog="mtn")
    subparsers = parser.add_subparsers(dest="command", required=True)
    first = subparsers.add_parser("first", group="search", help="the first", example="mtn first")
    first.add_argument("--count", type=int, default=7, help="how many")
    first.add_argument("--name", action="append", default=[], help="of it")
    first.add_argument("--splits", nargs="+", help="some")
    first.add_argument("--quiet", action="store_true", help="say less")
    subparsers.add_parser("second", help="the second")
    return parser


def refused(parser, words, capsys):
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(shlex.split(words))
    assert stop.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name", sorted(parsers()))
def test_every_command_says_what_it_does_and_how_it_is_called(name, commands, capsys):
    parser = commands[name]
    assert len(parser.description) > 40 and parser.description != parser.prog
    assert all(a.help for a in parser._actions if a.nargs != argparse.REMAINDER)
    examples = parser.epilog.splitlines()[1:]
    assert examples
    for example in examples:
        words = shlex.split(example, comments=True)
        assert words[:2] == ["mtn", name]
        create_parser().parse_args(words[1:])  # or it exits


def test_every_command_has_its_group(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    titles = [title for title in GROUPS.values() if title != "more"]
    assert [title for title in titles if f"\n{title}:\n" in said] == titles
    assert "\nmore:\n" not in said
    assert list(parsers()) != [] and all(f"\n  {name} " in said for name in parsers())


def test_a_command_without_a_group_is_shown_under_the_last(small):
    text = small.format_help()
    assert text.index(f"{GROUPS['search']}:\n  first ") < text.index("\nmore:\n  second ")


def test_help_shows_defaults_that_say_something_and_what_may_be_repeated(small):
    text = small.parse_args(["first"]) and next(iter(small._actions[1].choices.values()))
    text = text.format_help()
    assert "how many (default: 7)" in text
    assert "of it; may be repeated" in text
    assert text.count("(default") == 1
    assert text.endswith("\nexample:\n  mtn first\n")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("frist", "there is no command 'frist'; did you mean mtn first?"),
        ("first --cuont 3", "unrecognized arguments: --cuont; did you mean --count?"),
        ("first --count=3 --nmae=x", "unrecognized arguments: --nmae=x; did you mean --name?"),
        ("first --zzzzzz", "unrecognized arguments: --zzzzzz; see mtn first --help"),
        ("--verson", "unrecognized arguments: --verson"),
        ("first --count 3 --count 4", "argument --count: given twice; give it once"),
        ("first --splits a --splits b", "argument --splits: given twice; give all its values afte"),
    ],
)
def test_wrong_words_are_refused_and_what_was_meant_is_named(small, words, meant, capsys):
    assert meant in refused(small, words, capsys)


def test_lists_and_switches_may_stand_twice(small):
    args = small.parse_args(shlex.split("first --name a --name b --quiet --quiet"))
    assert args.name == ["a", "b"] and args.quiet
    assert not [name for name in vars(args) if name.startswith("_")]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("trian --root d --out r", "did you mean mtn train?"),
        ("train --rot d --out r", "did you mean --root?"),
        ("train --root d --out r --lr 0.1", "did you mean --set optim.learning_rate=VALUE?"),
        ("train --root d --out r --device_target cpu", "did you mean 'CPU'?"),
        ("eval --root a --root b --ckpt_path c --out r", "argument --root: given twice"),
        ("launch --workers 2 --workers 3 -- train", "argument --workers: given twice"),
    ],
)
def test_of_real_commands(words, meant, capsys):
    assert meant in refused(create_parser(), words, capsys)


def test_flags_behind_a_launch_belong_to_its_command():
    args = create_parser().parse_args(shlex.split("launch --workers 2 -- train --workers 3"))
    assert args.workers == 2 and args.arguments == ["--", "train", "--workers", "3"]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("optim.lr", "optim.learning_rate"),
        ("lr", "optim.learning_rate"),
        ("optim.wd", "optim.weight_decay"),
        ("train.learning_rate", "optim.learning_rate"),
        ("data.batch_size", "data.ids_per_batch"),
        ("heatmaps", "model.heatmaps"),
        ("model.image_sise", "model.image_size"),
    ],
)
def test_keys_of_recipes_lead_to_what_was_meant(key, meant, tmp_path, capsys):
    out = ["--root", str(tmp_path), "--out", str(tmp_path / "run")]
    assert main(["train", *out, "--set", f"{key}=1"]) == 2
    assert f"unknown configuration key {key!r}; did you mean {meant!r}?" in capsys.readouterr().err
