"""The table of all config keys, from the types and docstrings of the sections: `docs/configuration.md`.

Write the page anew: `PYTHONPATH=src python -m difflogic_tonic.config.reference > docs/configuration.md`.
"""

import ast
import inspect
import sys
from collections.abc import Iterator
from textwrap import dedent
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from difflogic_tonic.config.prepare import PrepareConfig
from difflogic_tonic.config.sections import is_section
from difflogic_tonic.config.train import TrainConfig

HEAD = """# Configuration

Every key of the two kinds of config, with its values and its default. The text is made from the code by
`python -m difflogic_tonic.config.reference`; a test holds the two together.

Configs are YAML 1.2: `1e-2` is a number, `off` a word, `001` text. An unknown key, a key given twice, a wrong type or a
value out of range is an error before any data is read. `--override "train.epochs=10 base.tag='two words'"` replaces
values on the command line; lists are written `[1, 2]`, and a later assignment wins.
"""

_WORDS = {"integer": "integer", "number": "number", "boolean": "`true`, `false`", "string": "text"}
_LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_VAST = 2**31 - 1


def reference() -> str:
    """The whole page as Markdown."""
    training = _table("Training configs", "`./train.sh CONFIG JOB_ID`", TrainConfig)
    preparing = _table("Prepare configs", "`./prepare_data.sh CONFIG`", PrepareConfig)
    return "\n".join([HEAD, training, preparing])


def _table(title: str, command: str, config: type[BaseModel]) -> str:
    lines = [f"## {title}", "", f"Read by {command}.", "", "| key | values | default | meaning |", "|---|---|---|---|"]
    lines += [f"| `{key}` | {values} | {default} | {meaning} |" for key, values, default, meaning in _rows(config, "")]
    return "\n".join([*lines, ""])


def _rows(section: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    meanings = _docstrings(section)
    schemas = section.model_json_schema()["properties"]
    for name, field in section.model_fields.items():
        inner = next((kind for kind in (field.annotation, *get_args(field.annotation)) if is_section(kind)), None)
        if inner is None or name in meanings:
            values = "section" if inner else _values(schemas[name])
            yield prefix + name, values, _default(field), meanings[name]
        if inner is not None:
            yield from _rows(inner, f"{prefix}{name}.")


def _docstrings(section: type[BaseModel]) -> dict[str, str]:
    """Field name → the string literal below it in the source, on one line; those of the sections it extends first."""
    found: dict[str, str] = {}
    for each in reversed(section.__mro__):
        if is_section(each) and each is not BaseModel:
            found |= _own_docstrings(each)
    return found


def _own_docstrings(section: type[BaseModel]) -> dict[str, str]:
    body = ast.parse(dedent(inspect.getsource(section))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            found[field.target.id] = " ".join(str(ast.literal_eval(text.value)).split())
    return found


def _values(schema: dict[str, Any]) -> str:
    """A JSON schema in a reader's words, with the range: `integer ≥ 1`, `auto, cpu`, `list of integer ≥ 1`."""
    if "anyOf" in schema:
        return " or ".join(_values(branch) for branch in schema["anyOf"] if branch.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    if schema["type"] == "array":
        return f"list of {_values(schema['items'])}"
    word = "path" if schema.get("format") == "path" else _WORDS[schema["type"]]
    limits = [f"{sign} {schema[key]:g}" for key, sign in _LIMITS.items() if abs(schema.get(key, _VAST)) < _VAST]
    return ", ".join([" ".join([word, *limits[:1]]), *limits[1:]])


def _default(field: FieldInfo) -> str:
    default = field.default
    if default is PydanticUndefined:
        return "**required**"
    if default is None:
        return "–"
    if isinstance(default, tuple):
        default = list(default)
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


if __name__ == "__main__":
    sys.stdout.write(reference())
