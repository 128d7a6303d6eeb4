"""The description of the API: its files, and the document that they make together."""

import json
from typing import Any

import pytest

from gateway.sender.openapi import FOLDER, HEAD, RESOURCES, description, joined
from pipeline.errors import Invariant
from tests.unit.gateway_sender.conftest import PUBLIC_URL, World

PAGE: dict[str, Any] = {"paths": {"/one": {"get": {}}}, "components": {"schemas": {"One": {}}}}


# ------------------------------------------------------------------ the files
def test_every_file_is_a_part_of_the_document() -> None:
    """None is left out, and none is missing."""
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.json" for name in (HEAD, *RESOURCES)}


@pytest.mark.parametrize("name", [HEAD, *RESOURCES])
def test_a_file_has_one_spelling(name: str) -> None:
    """A change of one line is a difference of one line, whichever editor or program wrote it."""
    text = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"


def test_parts_make_one_document() -> None:
    """Paths and components of all, whatever their number."""
    other = {"paths": {"/other": {}}, "components": {"schemas": {"Other": {}}, "responses": {"One": {}}}}
    assert joined({"head": {"openapi": "3.1.0"}, "one": PAGE, "other": other}) == {
        "openapi": "3.1.0",
        "paths": {"/one": {"get": {}}, "/other": {}},
        "components": {"schemas": {"One": {}, "Other": {}}, "responses": {"One": {}}},
    }


@pytest.mark.parametrize(
    ("second", "named"),
    [
        ({"paths": {"/one": {"post": {}}}}, "/one"),
        ({"components": {"schemas": {"One": {"type": "object"}}}}, "One"),
        ({"openapi": "3.0.0"}, "openapi"),
    ],
)
def test_what_two_files_describe_is_refused(second: dict[str, Any], named: str) -> None:
    """The later one does not win in silence; the error names the file and what it describes again."""
    with pytest.raises(Invariant, match=f"second.json .*: {named}$"):
        joined({"head": {"openapi": "3.1.0"}, "first": PAGE, "second": second})


@pytest.mark.anyio
async def test_the_joined_document_is_what_is_served(world: World) -> None:
    """With this installation's address, and the sandbox where there is one."""
    served = await world.anonymous().get("/v1/openapi.json")
    assert served.headers["content-type"] == "application/json"
    assert served.json() == description(PUBLIC_URL, is_sandbox=True)
