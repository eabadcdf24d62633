"""A parser that complains in one line, and the types of arguments that several parsers share."""

import argparse
from typing import NoReturn

from difflogic_tonic.errors import ConfigError


class OneLineParser(argparse.ArgumentParser):
    """A parser whose complaint is a `ConfigError`: one line, without the usage above it."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}; {self.prog} --help lists the arguments")


def whole_number(text: str) -> int:
    """A number from 0, as the type of an argument."""
    if not text.isascii() or not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 0, e.g. 3")
    return int(text)


def at_least_one(text: str) -> int:
    """A number from 1, as the type of an argument."""
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1, e.g. 64")
    return int(text)
