"""Comparing the description of the API with what the gateway answers and reads.

Owns     operations and schemas of a document; answers against the schemas that describe them
Rules    a place of an answer has a name: the reference of its schema, or the operation and the way into its body. What
         is described has to be answered by some sample, what is required by every one, and nothing else by any; so the
         samples of a place have to be one with everything and one with the least
"""

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

Table = Mapping[str, Any]
JSON_TYPES = ("application/json", "application/problem+json", "application/x-ndjson")
KINDS: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


class Operation(NamedTuple):
    """One method of one path. path: with its parameters' names."""

    method: str
    path: str
    table: Table

    @property
    def name(self) -> str:
        return str(self.table["operationId"])


@dataclass(frozen=True)
class Answer:
    """What a gateway answered."""

    method: str
    path: str
    status: int
    content_type: str
    content: bytes

    @property
    def bodies(self) -> list[object]:
        """One, or one a line."""
        lines = self.content.splitlines() if self.content_type == "application/x-ndjson" else [self.content]
        return [json.loads(line) for line in lines]


class Place(NamedTuple):
    """A schema, and where it stands."""

    at: str
    schema: Table


def operations(document: Table) -> list[Operation]:
    """All of them."""
    return [
        Operation(method.upper(), path, table)
        for path, methods in document["paths"].items()
        for method, table in methods.items()
    ]


def operation_of(document: Table, method: str, path: str) -> Operation | None:
    """The one that this address means; of two the one with fewer parameters."""
    found = [o for o in operations(document) if o.method == method and _pattern(o.path).fullmatch(path)]
    return min(found, key=lambda o: o.path.count("{"), default=None)


def resolved(document: Table, table: Table) -> Table:
    """What a reference inside the document leads to, or the table itself."""
    while "$ref" in table:
        found: Any = document
        for step in table["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        table = found
    return table


def changed(document: Table, path: str, value: object) -> dict[str, Any]:
    """A copy with another value at this place, or without it when that is None. path: with spaces between the steps."""
    found: dict[str, Any] = copy.deepcopy(dict(document))
    *steps, last = path.split()
    table: Any = found
    for step in steps:
        table = table[step]
    if value is None:
        del table[last]
    else:
        table[last] = value
    return found


def differences(document: Table, answers: Sequence[Answer], samples: Sequence[tuple[str, object]]) -> list[str]:
    """Where description and gateway differ. samples: values of a schema by its name, beside those in the answers."""
    seen = _Seen(document)
    for answer in answers:
        seen.answer(answer)
    for name, value in samples:
        seen.value(Place("", {"$ref": f"#/components/schemas/{name}"}), value)
    return seen.differences()


class _Seen:
    """Objects by the places where they stood."""

    def __init__(self, document: Table) -> None:
        self._document = document
        self._objects: dict[str, list[Table]] = {}
        self._wrong: list[str] = []

    def answer(self, answer: Answer) -> None:
        """Every object in it."""
        operation = operation_of(self._document, answer.method, answer.path)
        if operation is None:
            self._wrong.append(f"{answer.method} {answer.path}: is not described")
            return
        place = _described(self._document, operation, answer.status, answer.content_type)
        if place is None:
            self._wrong.append(f"{operation.name}: {answer.status} {answer.content_type} is not described")
        elif answer.content_type in JSON_TYPES:
            for body in answer.bodies:
                self.value(place, body)

    def value(self, place: Place, value: object) -> None:
        """This one and those inside."""
        place = _chosen(self._document, place, value)
        schema = place.schema
        if (wrong := _mistake(schema, value)) is not None:
            self._wrong.append(f"{place.at}: {wrong}")
        elif isinstance(value, dict):
            self._objects.setdefault(place.at, []).append(value)
            inner = schema.get("properties", {})
            rest = schema.get("additionalProperties")
            for name, one in value.items():
                if name in inner:
                    self.value(Place(f"{place.at}/{name}", inner[name]), one)
                elif isinstance(rest, dict):
                    self.value(Place(f"{place.at}/*", rest), one)
        elif isinstance(value, list):
            for one in value:
                self.value(Place(f"{place.at}/*", schema["items"]), one)

    def differences(self) -> list[str]:
        """Of all places of the document's answers."""
        found = list(dict.fromkeys(self._wrong))
        for place in _places(self._document):
            found += [f"{place.at}: {what}" for what in self._of(place)]
        return found

    def _of(self, place: Place) -> Iterator[str]:
        if "properties" not in place.schema:
            if "additionalProperties" not in place.schema:
                yield "what is in it is not described"
            return
        objects = self._objects.get(place.at)
        if objects is None:
            yield "no answer has it"
            return
        described, required = set(place.schema["properties"]), set(place.schema.get("required", ()))
        answered, always = set().union(*objects), set(objects[0]).intersection(*objects)
        yield from (f"{name} is answered and not described" for name in sorted(answered - described))
        yield from (f"{name} is described and never answered" for name in sorted(described - answered))
        yield from (f"{name} is required and not always answered" for name in sorted(required - always))
        yield from (f"{name} is always answered and not required" for name in sorted(always - required))


def _places(document: Table) -> list[Place]:
    """Every object that an answer may have, each once."""
    found: dict[str, Place] = {}
    for operation in operations(document):
        for status, answer in operation.table["responses"].items():
            for content_type, media in resolved(document, answer).get("content", {}).items():
                if content_type in JSON_TYPES:
                    _walk(document, Place(_at(operation, status), media["schema"]), found)
    return list(found.values())


def _walk(document: Table, place: Place, found: dict[str, Place]) -> None:
    for at, schema in _branches(document, place):
        if at in found:
            continue
        if "object" in types_of(schema):
            found[at] = Place(at, schema)
        inside = dict(schema.get("properties", {}))
        if isinstance(schema.get("additionalProperties"), dict):
            inside["*"] = schema["additionalProperties"]
        if "items" in schema:
            inside["*"] = schema["items"]
        for name, inner in inside.items():
            _walk(document, Place(f"{at}/{name}", inner), found)


def _branches(document: Table, place: Place) -> list[Place]:
    """The place itself, or what it may be one of; a reference is a place of its own."""
    if "$ref" in place.schema:
        reference = place.schema["$ref"]
        return [Place(reference.rpartition("/")[2], resolved(document, place.schema))]
    if "oneOf" in place.schema and "properties" not in place.schema:
        return [b for branch in place.schema["oneOf"] for b in _branches(document, Place(place.at, branch))]
    return [place]


def _chosen(document: Table, place: Place, value: object) -> Place:
    """The branch that describes this value best."""
    branches = [b for b in _branches(document, place) if _mistake(b.schema, value) is None]
    keys = set(value) if isinstance(value, dict) else set()
    best = max(branches, key=lambda b: -len(keys ^ set(b.schema.get("properties", ()))), default=None)
    return best or _branches(document, place)[0]


def _described(document: Table, operation: Operation, status: int, content_type: str) -> Place | None:
    responses = operation.table["responses"]
    key = str(status) if str(status) in responses else f"{status // 100}XX"
    if key not in responses:
        return None
    content = resolved(document, responses[key]).get("content", {})
    if not content and not content_type:
        return Place(_at(operation, key), {})
    return Place(_at(operation, key), content[content_type]["schema"]) if content_type in content else None


def _mistake(schema: Table, value: object) -> str | None:
    types = types_of(schema)
    if types and not any(_is(value, kind) for kind in types):
        return f"{value!r} is not of type {' or '.join(types)}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{value!r} is none of {schema['enum']}"
    return f"{value!r} is not {schema['const']!r}" if schema.get("const", value) != value else None


def types_of(schema: Table) -> list[str]:
    """Of JSON."""
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else list(types)


def _is(value: object, kind: str) -> bool:
    return isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _at(operation: Operation, status: str) -> str:
    return f"{operation.name} {status}"


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile("[^/]+".join(map(re.escape, re.split(r"\{\w+\}", path))))
