"""A parsed TOML table as msgspec structs, checked whole; every complaint names the key and what would be right.

Owns     unknown keys with the nearest known one, missing keys, types, and the limits that the fields' annotations carry
Elsewhere: what the keys are, and what several of them must be together (configuration.py)
"""

import difflib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import inspect

from pipeline.errors import QerdsError

S = TypeVar("S", bound=msgspec.Struct)


class ConfigInvalid(QerdsError):
    """The configuration cannot be used; the text names the key and the remedy, and quotes no value but a port."""


def structure(kind: type[S], table: object, at: str = "") -> S:
    """The table as this struct; `at` is its dotted name. Raises ConfigInvalid for the first key that is wrong."""
    if not isinstance(table, Mapping):
        raise ConfigInvalid(f"{at or 'the file'} must be a table")
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    _refuse_unknown(table, fields, at)
    values = {}
    for name, field in fields.items():
        if name in table:
            values[name] = _value(field.type, table[name], _join(at, name))
        elif field.required:
            raise ConfigInvalid(f"missing key {_join(at, name)}; it must be {words(field.type)}")
    return kind(**values)


def words(kind: Any) -> str:
    """What a value of this annotated type must be, as complaints and docs/configuration.md say it."""
    match _without_none(kind):
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType(ge=low, le=None):
            return f"a whole number, at least {low}"
        case inspect.IntType(ge=low, le=high):
            return f"a whole number from {low} to {high}"
        case inspect.LiteralType(values=choices):
            return f"one of {', '.join(map(str, choices))}"
        case inspect.CustomType():
            return "a path"
        case inspect.VarTupleType(item_type=inspect.IntType()):
            return "a list of whole numbers, none below 0"
        case inspect.VarTupleType(max_length=most):
            return f"a list of 1 to {most} texts"
        case inspect.StrType(pattern=str()):
            return "small letters, digits and _, at most 32, a letter first"
        case inspect.StructType() | inspect.DictType():
            return "a table"
        case _:
            return "a text, not empty"


def section_of(kind: Any) -> type[msgspec.Struct] | None:
    """The struct that a field of this type is, or holds under names of the operator's; None for a plain value."""
    info = _without_none(kind)
    if isinstance(info, inspect.DictType):
        info = info.value_type
    return info.cls if isinstance(info, inspect.StructType) else None


def _value(kind: Any, value: object, at: str) -> object:
    """One value as the type that its field declares."""
    if get_origin(kind) is dict and isinstance(value, Mapping):
        names, inner = get_args(kind)
        _check_names(names, value, at)
        return {name: _value(inner, item, _join(at, name)) for name, item in value.items()}
    section = section_of(kind)
    if section is not None and get_origin(kind) is not dict:
        return structure(section, value, at)
    try:
        return msgspec.convert(value, kind, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise ConfigInvalid(f"{at} must be {words(kind)}") from error


def _check_names(names: Any, table: Mapping[str, object], at: str) -> None:
    """The keys of a table are among the known ones, or of the form that its annotation gives (Meta: pattern)."""
    if get_origin(names) is Literal:
        _refuse_unknown(table, get_args(names), at)
        return
    for name in table:
        try:
            msgspec.convert(name, names)
        except msgspec.ValidationError as error:
            raise ConfigInvalid(f"a name in {at} must be {words(names)}") from error


def _refuse_unknown(table: Mapping[str, object], names: Collection[str], at: str) -> None:
    for name in table:
        if name not in names:
            nearest = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {_join(at, nearest[0])}?" if nearest else f"known here: {', '.join(sorted(names))}"
            raise ConfigInvalid(f"unknown key {_join(at, name)}; {hint}")


def _without_none(kind: Any) -> inspect.Type:
    """What the type is when the value is there."""
    info = inspect.type_info(kind)
    if isinstance(info, inspect.UnionType):
        return next(option for option in info.types if not isinstance(option, inspect.NoneType))
    return info


def _path(kind: type, value: object) -> Path:
    """The one type that msgspec does not know."""
    if kind is not Path or not isinstance(value, str) or not value:
        raise ValueError("a path is a text, not empty")
    return Path(value)


def _join(at: str, name: str) -> str:
    """The dotted name of a key."""
    return f"{at}.{name}" if at else name
