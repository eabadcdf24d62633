"""Functions of one's own that a config names as `module:function`."""

import hashlib
import importlib
import importlib.util
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from difflogic_tonic.errors import ConfigError

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", re.ASCII)


def is_own_code(name: str) -> bool:
    """Whether `name` has the form `module:function`."""
    return _NAME.fullmatch(name) is not None


def load_own_function(key: str, name: str, *arguments: str) -> Callable[..., Any]:
    """The function `module:function` that the config key `key` names. Its module is run.

    Raises `ConfigError` if there is no such module or function, or it cannot be called with as many arguments as are
    named. What the module raises itself is not caught.
    """
    module, _, function_name = name.partition(":")
    source = source_file(key, name)
    function = getattr(importlib.import_module(module), function_name, None)
    if not callable(function):
        raise ConfigError(f"{key}: {name}: {source} has no function {function_name}")
    if arguments and not takes(function, len(arguments)):
        given = f"{function_name}{inspect.signature(function)}"
        raise ConfigError(f"{key}: {name}: {source} has {given}; it is called with ({', '.join(arguments)})")
    return function


def takes(function: Callable[..., Any], count: int) -> bool:
    """Whether `function` can be called with `count` arguments in a row."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # some that are written in C have none
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def source_digest(key: str, name: str) -> str:
    """SHA-256 (hex) of the file in which the function is: also what it calls there decides what it does."""
    return hashlib.sha256(source_file(key, name).read_bytes()).hexdigest()


def source_file(key: str, name: str) -> Path:
    """The source file of the module in `module:function`, without running it. Raises `ConfigError` if there is none."""
    module = name.partition(":")[0]
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # of a package above it
        found = None
    if found is None or found.origin is None or not found.origin.endswith(".py"):
        raise ConfigError(
            f"{key}: {name}: there is no module {module}; put {module.replace('.', '/')}.py beside main.py, "
            "or its folder into PYTHONPATH"
        )
    return Path(found.origin)
