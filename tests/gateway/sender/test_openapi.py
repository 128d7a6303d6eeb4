"""The description of the API: its files, the document that they make, and whether it is of the gateway's routes, codes
and scopes. What is in bodies: test_openapi_requests.py, test_openapi_answers.py.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from starlette.routing import BaseRoute, Route

from gateway import trust
from gateway.problem_codes import PROBLEMS
from gateway.sender import routes
from gateway.sender.oauth import SCOPES
from gateway.sender.openapi import FOLDER, HEAD, RESOURCES, description, joined
from pipeline.errors import Invariant
from tests.fakes.pki import authority
from tests.gateway.sender.api_shapes import Table, changed, operations
from tests.gateway.sender.conftest import PUBLIC_URL, World

DOCS, TOKEN = "/docs", "/oauth2/token"
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
    assert served.json()["openapi"].startswith("3.1")
    assert served.json()["servers"] == [{"url": PUBLIC_URL}]


# ------------------------------------------------------------------ inside the document
def unlike_references(api: Table) -> list[str]:
    """References that lead nowhere, and components that none leads to."""
    components = {
        f"#/components/{kind}/{name}"
        for kind, table in api["components"].items()
        for name in table
        if kind != "securitySchemes"
    }
    return sorted(components ^ set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(api))))


@pytest.mark.parametrize("is_sandbox", [True, False])
def test_references_lead_to_every_component(is_sandbox: bool) -> None:
    """None points nowhere, and nothing is described that no address has; with and without a sandbox."""
    api = description(PUBLIC_URL, is_sandbox=is_sandbox)
    assert unlike_references(api) == []
    assert unlike_references(changed(api, "components schemas Webhook", None)) == ["#/components/schemas/Webhook"]
    assert unlike_references(changed(api, "components schemas More", {})) == ["#/components/schemas/More"]


# ------------------------------------------------------------------ routes
def unlike_routes(api: Table, table: Sequence[BaseRoute]) -> set[tuple[str, str]]:
    """Methods and paths that are described or served, but not both."""
    described = {(operation.method, operation.path) for operation in operations(api)}
    served = {
        (method, route.path)
        for route in table
        if isinstance(route, Route) and route.path != DOCS
        for method in route.methods or ()
        if method != "HEAD"
    }
    return described ^ served


@pytest.mark.anyio
async def test_the_description_is_of_the_routes(world: World) -> None:
    """Every method of every address of the API is described, and nothing else."""
    api = description(PUBLIC_URL, is_sandbox=True)
    table = [*routes.routes(world.parts), *trust.routes(world.parts.keys)]
    assert unlike_routes(api, table) == set()
    assert unlike_routes(changed(api, "paths /v1/batches get", None), table) == {("GET", "/v1/batches")}
    assert unlike_routes(changed(api, "paths /v1/more", {"put": {}}), table) == {("PUT", "/v1/more")}
    assert unlike_routes(api, [route for route in table if route != table[0]]) == {("POST", "/v1/uploads")}


# ------------------------------------------------------------------ codes, scopes
def unlike_tables(api: Table) -> list[str]:
    """Lists of the document that are not the code's."""
    components = api["components"]
    lists = {
        "codes": (components["schemas"]["Problem"]["properties"]["code"]["enum"], list(PROBLEMS)),
        "scopes": (list(components["securitySchemes"]["oauth2"]["flows"]["clientCredentials"]["scopes"]), list(SCOPES)),
    }
    return [name for name, (described, table) in lists.items() if described != table]


def test_codes_and_scopes_are_the_code_s() -> None:
    """Every one, and no other, in the same order."""
    api = description(PUBLIC_URL, is_sandbox=True)
    assert unlike_tables(api) == []
    codes = "components schemas Problem properties code enum"
    assert unlike_tables(changed(api, codes, [*PROBLEMS, "more"])) == ["codes"]
    assert unlike_tables(changed(api, codes, list(PROBLEMS)[1:])) == ["codes"]
    flow = "components securitySchemes oauth2 flows clientCredentials scopes"
    assert unlike_tables(changed(api, f"{flow} evidence:read", None)) == ["scopes"]


async def needed(client: httpx.AsyncClient, method: str, path: str) -> list[Table]:
    """What an address wants of a token, as OpenAPI has it; the client's own has no scope."""
    if (await client.request(method, path, headers={"Authorization": ""})).status_code != 401:
        return []
    answer = await client.request(method, path)
    missing = re.fullmatch(r"needs the scope (.+)", answer.json()["detail"]) if answer.status_code == 403 else None
    return [{"oauth2": [missing[1]] if missing else []}]


async def unlike_scopes(api: Table, client: httpx.AsyncClient) -> list[str]:
    """Operations that want something else of a token than they are described with."""
    return [
        operation.name
        for operation in operations(api)
        if operation.path != TOKEN  # the address that gives tokens
        and operation.table["security"] != await needed(client, operation.method, re.sub(r"{\w+}", "x", operation.path))
    ]


@pytest.mark.anyio
async def test_an_operation_needs_the_scope_that_is_described(world: World) -> None:
    """Asked without a token, and with one that has no scope."""
    world.parts.keys.anchor = authority().der
    client, api = await world.sender(), description(PUBLIC_URL, is_sandbox=True)
    world.psql("UPDATE qerds.access_token SET scopes = '{}'")
    assert await unlike_scopes(api, client) == []
    assert await unlike_scopes(changed(api, "paths /v1/me get security", []), client) == ["me"]
    assert await unlike_scopes(changed(api, "paths /v1/status get security", [{"oauth2": []}]), client) == ["status"]
    planted = changed(api, "paths /v1/events get security", [{"oauth2": ["evidence:read"]}])
    assert await unlike_scopes(planted, client) == ["listEvents"]
