"""Text to plain values: one YAML dialect for config files and for the values of `--override`.

It is YAML 1.2's core schema, not PyYAML's 1.1: `1e-2` is a number, `off` and `no` are words, `001` and `2024-01-01` are
text. A key given twice is an error, where PyYAML keeps the last one without a word.
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from difflogic_tonic.arguments import checkout_path, configs_near
from difflogic_tonic.config.environment import repository_root
from difflogic_tonic.errors import ConfigError


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 — PyYAML's own interface

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is not text", key_node.start_mark)
            if key in seen:
                problem = f"key {key!r} is given twice; keep one"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.2, section 10.3.2, except that a number with a leading zero stays text: a job id 001 is not the number 1.
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan", "-+.0123456789"),
):
    _starts = [char.strip("\0") for char in _first]
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _starts)


def read_value(text: str, where: str) -> Any:
    """One YAML value, e.g. of an override: `1e-2`, `[1, 2]`, `'two words'`. `where` names it in errors."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not a YAML value ({_reason(error)}); quote the value: \"key='a value'\"") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a config file. Raises `ConfigError` naming file, line and reason."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file{configs_near(path, find_config(path.parent))}") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder; expected a config file{configs_near(path, path)}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not text in UTF-8 (byte {error.start}); expected a YAML file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        content = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: {_reason(error)}") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply for a config") from None
    if content is None:
        raise ConfigError(f"{path}: is empty; expected sections with keys, e.g. data: and below it name: DIGITS_DVS")
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected sections with keys, found {type(content).__name__}")
    return content


def find_config(path: str | Path) -> Path:
    """A config given by its path, relative to the current folder or else to the checkout."""
    return checkout_path(path, repository_root())


def _reason(error: yaml.YAMLError) -> str:
    problem = " ".join(str(getattr(error, "problem", None) or error).split())
    context = " ".join(str(getattr(error, "context", None) or "").split())
    if isinstance(error, yaml.parser.ParserError | yaml.scanner.ScannerError):
        return f"{context + ': ' if context else ''}{problem}; check the indentation and quotes of this line"
    return f"{context}: {problem}" if context and "is given twice" not in problem else problem
