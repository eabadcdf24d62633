"""A parser that complains in one line."""

import argparse
from typing import NoReturn

from difflogic_tonic.errors import ConfigError


class OneLineParser(argparse.ArgumentParser):
    """A parser whose complaint is a `ConfigError`: one line, without the usage above it."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}; {self.prog} --help lists the arguments")
