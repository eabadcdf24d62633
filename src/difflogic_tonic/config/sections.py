"""What all config sections share: frozen, no unknown keys, and errors that a person can act on in one line."""

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeGuard, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError
from pydantic_core import ErrorDetails

from difflogic_tonic.errors import ConfigError


class Section(BaseModel):
    """A part of a config. Values have exactly the declared type; an integer is accepted where a number is expected."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def to_dict(self) -> dict[str, Any]:
        """Plain data (dict, list, str, int, float, bool, None), the same keys as in the YAML."""
        return self.model_dump(mode="json")


def _expand_user(value: Any) -> Any:
    return str(Path(value).expanduser()) if isinstance(value, str) and value else value


_Section = TypeVar("_Section", bound=Section)

PathValue = Annotated[Path, Strict(False), BeforeValidator(_expand_user)]
"""A path written as text; `~` is the home folder. Relative paths are relative to the current folder."""

Positive = Annotated[int, Field(ge=1, le=2**31 - 1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


def build_section(
    section: type[_Section], content: dict[str, Any], where: str, overridden: Iterable[str] = ()
) -> _Section:
    """Typed, checked `section` from plain `content`. Raises `ConfigError`: `where`, the key and what was expected."""
    try:
        return section.model_validate(content)
    except ValidationError as error:
        known = sorted(dotted_keys(section))
        # Of a union (a count or a fraction) each branch complains; the last one allows the most, so it tells the most.
        by_key: dict[str, ErrorDetails] = {}
        for details in error.errors():
            key = _key(details["loc"], known, details["type"])
            if key not in by_key or details["type"] != "too_short":  # a list is also too short without its bad items
                by_key[key] = details
        problems = [_describe(key, details, known, where, set(overridden)) for key, details in by_key.items()]
        # A key that cannot be right is more telling than what its absence causes, so unknown keys come first.
        problems.sort(key=lambda problem: "unknown key" not in problem)
        rest = f" (and {len(problems) - 1} more: {'; '.join(problems[1:3])})" if len(problems) > 1 else ""
        raise ConfigError(problems[0] + rest) from None


def dotted_keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key that a config of this kind may have: `train.epochs`, `train.dataloader.batch_size`, …"""
    for name, field in section.model_fields.items():
        inner = [kind for kind in (field.annotation, *get_args(field.annotation)) if is_section(kind)]
        yield prefix + name
        for kind in inner:
            yield from dotted_keys(kind, f"{prefix}{name}.")


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean X?)`, or nothing if no known word is near."""
    names = list(known)
    found = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if not found:
        by_lower = {name.lower(): name for name in names}
        found = [by_lower[match] for match in difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)]
    return f" (did you mean {found[0]}?)" if found else ""


def is_section(kind: Any) -> TypeGuard[type[BaseModel]]:
    """Whether a type is a part of a config with keys of its own."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _describe(key: str, details: ErrorDetails, known: list[str], where: str, overridden: set[str]) -> str:
    value = details.get("input")
    # A rule about several keys belongs to their section: blame the override that takes part in it, if one does.
    named = str(details.get("ctx", {}).get("error", ""))
    blamed = [other for other in overridden if other == key or other.startswith(f"{key}.") or other in named]
    prefix = "--override" if blamed else where
    place = f"{prefix} {key}" if blamed else f"{prefix}: {key}" if key else prefix
    match details["type"]:
        case "extra_forbidden":
            return f"{prefix}: unknown key {key}{_nearest_key(key, known)}"
        case "missing":
            return f"{where}: {key} is missing"
        case "literal_error":
            expected = str(details["ctx"]["expected"])
            names = expected.replace("'", "").replace(" or ", ", ").split(", ")
            return f"{place}: {value!r} is not one of {', '.join(names)}{nearest(str(value), names)}"
        case "string_type" if isinstance(value, int | float):
            return f"{place}: expected text, found the number {value}; put it in quotes"
        case "value_error" if key.count(".") == 0 or named.startswith(key):
            return f"{prefix}: {named}"
        case "value_error":
            return f"{prefix}: {key}: {named}"
        case "bool_type" | "bool_parsing":
            return f"{place}: expected true or false, found {value!r}"
        case "string_type":
            return f"{place}: expected text, found {'nothing' if value is None else value!r}"
        case "model_type":
            return f"{place}: expected a section with keys, found {value!r}"
        case _:
            message = details["msg"].removeprefix("Input should be ")
            expected = message if message != details["msg"] else details["msg"]
            return f"{place}: expected {expected}, found {value!r}"


def _key(location: tuple[int | str, ...], known: list[str], kind: str) -> str:
    """Dotted key of an error; pydantic appends the branch of a union and the index in a list, which are no keys."""
    parts = [str(part) for part in location]
    while kind != "extra_forbidden" and parts and ".".join(parts) not in known:
        parts.pop()
    return ".".join(parts)


def _nearest_key(key: str, known: list[str]) -> str:
    """The likeliest intended key: the same section first, then the same last name anywhere, then anything near."""
    section, _, name = key.rpartition(".")
    siblings = [other.rpartition(".")[2] for other in known if other.rpartition(".")[0] == section]
    if found := difflib.get_close_matches(name, siblings, n=1, cutoff=0.75):
        return f" (did you mean {section + '.' if section else ''}{found[0]}?)"
    if same := [other for other in known if other.rpartition(".")[2] == name]:
        return f" (did you mean {same[0]}?)"
    return nearest(key, known)
