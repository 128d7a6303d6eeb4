"""The description of the API, joined from one file a resource.

Owns     reading schemas/api, joining its files, putting this installation's address into the whole
Rules    a path, a component and a part of the head stand in one file: the same one twice is refused, not overwritten
         the files are JSON, so that no YAML parser is needed at run time
         tests/gateway/sender/test_openapi.py keeps the whole equal to the routes, the codes and the scopes
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import Invariant
from pipeline.intake.mistakes import Unreadable
from pipeline.intake.reading import read_json

FOLDER = Path(__file__).parents[2] / "schemas" / "api"
HEAD = "document"  # version, address, scopes, and what several resources share
RESOURCES = (  # in the order in which /docs shows them
    "oauth",
    "uploads",
    "deliveries",
    "batches",
    "exports",
    "events",
    "webhooks",
    "consents",
    "verify",
    "service",
    "sandbox",
)
FILE_ADDRESS = "https://registered.example"
SANDBOX = "sandbox"  # described where it exists


def description(public_url: str, *, is_sandbox: bool) -> dict[str, Any]:
    """OpenAPI 3.1, with this installation's address in place of the one in the files, and with what it has. Raises
    Invariant when the files make no document."""
    names = [name for name in (HEAD, *RESOURCES) if is_sandbox or name != SANDBOX]
    return joined({name: _read(FOLDER / f"{name}.json", public_url) for name in names})


def joined(files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One document out of its parts, by the names of their files. Raises Invariant for what two of them describe."""
    document: dict[str, Any] = {}
    for name, part in files.items():
        for section, table in part.items():
            if section == "paths":
                _add(document.setdefault(section, {}), table, name)
            elif section == "components":
                for kind, components in table.items():
                    _add(document.setdefault(section, {}).setdefault(kind, {}), components, name)
            else:
                _add(document, {section: table}, name)
    return document


def _add(target: dict[str, Any], table: Mapping[str, Any], file: str) -> None:
    if twice := sorted(target.keys() & table.keys()):
        raise Invariant(f"{file}.json describes again what another file does: {', '.join(twice)}")
    target.update(table)


def _read(file: Path, public_url: str) -> Mapping[str, Any]:
    text = file.read_text(encoding="utf-8").replace(FILE_ADDRESS, public_url)
    try:
        return read_json(text.encode())
    except Unreadable as error:
        raise Invariant(f"{file.name}: {error.detail}") from error
