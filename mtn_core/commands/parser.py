"""The parser of ``mtn``: commands by group, defaults in the help, the nearest name for a wrong one.

A command registers with :meth:`Commands.add_parser`, and sets by ``set_defaults``:

- ``run``: the handler, from the arguments to an exit code;
- ``next_step``: what to do after it, from the arguments to a line or None (see ``mtn_core.cli``);
- ``kept``: what an interrupt leaves and how to go on, likewise.
"""

import argparse
import re
import unicodedata
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mtn_core import __version__
from mtn_core.errors import nearest, nearest_key

if TYPE_CHECKING:
    from mtn_core.config import Recipe

# In the order of `mtn --help`; a command of no group, or of an unknown one, stands under the last.
GROUPS = {
    "data": "data: write it, bring it, check it",
    "train": "train: weights, training, tuning",
    "analyse": "analyse: numbers, reports, tracking",
    "export": "export: files for other programs, and their proof",
    "pose": "pose: keypoints from pixels",
    "search": "search: where was this vehicle seen",
    "run": "run: notebooks, clusters, this machine",
    "more": "more",
}
COMMAND_MODULES = (
    *("data", "convert", "train", "analysis", "export", "pose", "gallery", "search", "serve"),
    *("workbook", "submit", "track", "tune", "doctor", "completion"),
)
_GIVEN = "_given"  # in a namespace while it is filled: the flags that were there
_SWALLOWS = (argparse.REMAINDER, argparse.PARSER)
_EXAMPLE = "example"


class HelpFormatter(argparse.HelpFormatter):
    """Argparse's, with the defaults that say something, and examples line by line."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(_EXAMPLE):
            return "\n".join(indent + line for line in text.splitlines())
        return super()._fill_text(text, width, indent)

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        if isinstance(action, argparse._AppendAction) and "repeated" not in text:
            text += "; may be repeated"
        default = action.default
        silent = default is None or default is False or default in ([], "", argparse.SUPPRESS)
        if silent or not action.option_strings or "(default" in text:
            return text
        shown = "%(default)s"
        if isinstance(default, list | tuple):
            shown = " ".join(str(value) for value in default).replace("%", "%%")
        return f"{text} (default: {shown})".lstrip()


class CommandParser(argparse.ArgumentParser):
    """A parser that takes no abbreviation, no plain flag twice, and names what was meant.

    Attributes:
        schema: Of the recipe that ``--set`` changes; None without ``--set``.
    """

    schema: "type[Recipe] | None" = None

    def __init__(self, **kwargs: Any):
        # Abbreviations would let a misspelt flag pass as another.
        super().__init__(**{"allow_abbrev": False, "formatter_class": HelpFormatter, **kwargs})
        self.register("type", Path, _path)
        self.register("action", None, _StoreOnce)
        self.register("action", "store", _StoreOnce)
        self.register("action", "parsers", Commands)

    def parse_known_args(self, args=None, namespace=None):
        """As argparse's; an unknown flag is refused before a missing one is asked for."""
        words = args if args is None else list(args)
        if words is not None:
            self._refuse_unknown(words)
        parsed, rest = super().parse_known_args(words, namespace)
        vars(parsed).pop(_GIVEN, None)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}{self._meant(rest[0])}")
        return parsed, rest

    def _refuse_unknown(self, words: Sequence[str]) -> None:
        swallows = any(action.nargs in _SWALLOWS for action in self._actions)
        for word in words:
            if word == "--" or (swallows and not word.startswith("-")):
                return
            name = word.partition("=")[0]
            if re.match(r"--\w", name) and name not in self._option_string_actions:
                self.error(f"unrecognized arguments: {word}{self._meant(word)}")

    def _meant(self, word: str) -> str:
        """``; did you mean --root?`` for a word that is no flag, or the key of a recipe."""
        name = word.partition("=")[0]
        flags = [flag for flag in self._option_string_actions if flag.startswith("--")]
        close = nearest(name, flags, cutoff=0.7)
        if close is None and self.schema is not None:
            from mtn_core.config import known_keys  # imports NumPy, which mtn doctor looks after

            key = nearest_key(name.lstrip("-"), known_keys(self.schema))
            close = f"--set {key}=VALUE" if key else None
        close = close or nearest(name, flags)
        return f"; did you mean {close}?" if close else ""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = action.choices
        if choices is None or value in choices:
            return
        names = [str(choice) for choice in choices]
        close = nearest(str(value), names)
        if isinstance(action, Commands):
            hint = f"; did you mean {self.prog} {close}?" if close else ""
            raise argparse.ArgumentError(
                None,
                f"there is no command {value!r}{hint}",
            )
        hint = f"; did you mean {close!r}?" if close else ""
        raise argparse.ArgumentError(
            action, f"invalid choice: {value!r}{hint} (choose from {', '.join(names)})"
        )

    def format_help(self) -> str:
        """As argparse's; the commands, where there are any, by group."""
        found = [action for action in self._actions if isinstance(action, Commands)]
        if not found:
            return super().format_help()
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        for title, lines in found[0].by_group().items():
            formatter.start_section(title)
            formatter.add_arguments(lines)
            formatter.end_section()
        formatter.start_section("options")
        formatter.add_arguments(a for a in self._actions if a.option_strings)
        formatter.end_section()
        formatter.add_text(self.epilog)
        return formatter.format_help()

    def error(self, message: str) -> NoReturn:
        """Usage, what is wrong, and exit code 2."""
        super().error(f"{message}; see {self.prog} --help")


class Commands(argparse._SubParsersAction):
    """The commands of ``mtn``."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._group_of: dict[str, str] = {}

    def add_parser(  # type: ignore[override]
        self,
        name: str,
        *,
        group: str = "more",
        help: str = "",
        description: str | None = None,
        example: str | Iterable[str] = (),
        **kwargs: Any,
    ) -> argparse.ArgumentParser:
        """Add a command.

        Args:
            name: Of the command.
            group: One of :data:`GROUPS`.
            help: Its line in ``mtn --help``.
            description: What stands over its own help; by default ``help`` as a sentence.
            example: A command line, or several, that its parser takes.
            **kwargs: As argparse's.
        """
        lines = [example] if isinstance(example, str) else list(example)
        if lines:
            several = "s" if len(lines) > 1 else ""
            kwargs["epilog"] = "\n  ".join([f"{_EXAMPLE}{several}:", *lines])
        if description is None and help:
            description = f"{help[0].upper()}{help[1:]}."
        self._group_of[name] = group if group in GROUPS else "more"
        return super().add_parser(name, help=help, description=description, **kwargs)

    def by_group(self) -> dict[str, list[argparse.Action]]:
        """The lines of the help by the title of their group; groups without commands are left out.

        Commands stand in the order in which they were added.
        """
        lines: dict[str, list[argparse.Action]] = {title: [] for title in GROUPS.values()}
        for line in self._choices_actions:
            lines[GROUPS[self._group_of[line.dest]]].append(line)
        return {title: found for title, found in lines.items() if found}


class _StoreOnce(argparse._StoreAction):
    """A value that is given once: of two, the last would win without a word."""

    def __call__(self, parser, namespace, values, option_string=None):
        given = vars(namespace).setdefault(_GIVEN, set())
        if self.option_strings:
            if self.dest in given:
                several = self.nargs in ("*", "+") or isinstance(self.nargs, int)
                remedy = "give all its values after one" if several else "give it once"
                raise argparse.ArgumentError(self, f"given twice; {remedy}")
            given.add(self.dest)
        super().__call__(parser, namespace, values, option_string)


def _path(text: str) -> Path:
    """A path of the command line: not empty, as an unset variable of a shell would be."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got an empty text")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        raise argparse.ArgumentTypeError(
            f"expected a path without control characters and in UTF-8, got {text!r}"
        )
    return Path(text)


def create_parser(modules: Sequence[str] = COMMAND_MODULES) -> CommandParser:
    """The parser of ``mtn`` with its subcommands.

    Args:
        modules: Of :mod:`mtn_core.commands`; all by default.
    """
    parser = CommandParser(
        prog="mtn",
        description="Vehicle re-identification workbook: MultiTaskNet on MindSpore.",
        epilog="`mtn COMMAND --help` describes a command, with an example.",
    )
    parser.add_argument("--version", action="version", version=f"mtn_core {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="log more, show tracebacks")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in modules:
        import_module(f"mtn_core.commands.{name}").register(subparsers)
    return parser
