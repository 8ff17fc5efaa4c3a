"""What commands print of files, whatever those are called."""

import sys
from collections.abc import Sequence
from io import TextIOWrapper
from unicodedata import category

_BREAKING = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, bytes that are no text, ends of lines


def print_failures(failures: Sequence[str]) -> None:
    """List what failed, each on a line of its own."""
    if failures:
        print(f"{len(failures)} failed:", *map(one_line, failures), sep="\n  ")


def one_line(text: str) -> str:
    r"""A text with what would break its line, or is no text, written like ``\n`` and ``\udcff``."""
    return "".join(
        letter.encode("unicode_escape").decode("ascii") if category(letter) in _BREAKING else letter for letter in text
    )


def accept_any_name() -> None:
    """Let the process print names that its standard output has no characters for, with these escaped."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
