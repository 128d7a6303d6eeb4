"""What the gateway reads of a request is what its description says: fields, words, lengths, parameters.

Owns     asking the running gateway which fields it knows: it names them to whoever sends another one
Rules    a field that is required, the words that a field takes, the length of a text and of a list stand in what the
         gateway answers, too. A form's fields are named by nobody: there each described one must make a difference
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from gateway.sender.consent_requests import REF
from gateway.sender.consents import METHOD
from gateway.sender.oauth import ASSERTION_TYPE
from gateway.sender.openapi import description
from pipeline.intake.attachments import PART, PART_NAME
from pipeline.intake.submission import CLIENT_REF, SIREN
from tests.gateway.sender.api_shapes import Operation, Table, changed, operations, resolved, types_of
from tests.gateway.sender.conftest import PUBLIC_URL, SECRET, World

pytestmark = pytest.mark.anyio
UNKNOWN, WRONG = "unknown_field", "?"
KNOWN = re.compile(r"known: (.+)$")
WORDS = re.compile(r"must be (?:one of|of|a list of) ([\w./]+(?:, [\w./]+)*)(?:, each once)?$")
LENGTH = re.compile(r"must have 1 to (\d+) characters")
COUNT = re.compile(r"must have (\d+) to (\d+) entries")
PATTERNS = {  # by the property's place among the schemas
    "NewDelivery properties client_ref": CLIENT_REF,
    "FormMetadata properties client_ref": CLIENT_REF,
    "FormDocument properties part": PART_NAME,
    "Recipient properties organisation properties siren": SIREN,
    "NewConsent properties method": METHOD,
    "NewConsentRequest properties ref": REF,
}
READ_BEFORE = {"FormDocument": {PART}}  # before the others, so that the gateway does not name it among them
SCHEMAS = "components schemas"
PLANTED: list[tuple[str, Any, str]] = [  # where, what stands there (None: nothing), how what is found begins
    (f"{SCHEMAS} Recipient properties usage_name", None, "Recipient: usage_name is read and not described"),
    (f"{SCHEMAS} NewBatch properties colour", {}, "NewBatch: colour is described and not read"),
    (f"{SCHEMAS} FormDocument properties part", None, "FormDocument: part is read and not described"),
    (f"{SCHEMAS} NewConsent required", [], "NewConsent: method is required by the gateway only"),
    (f"{SCHEMAS} Document required", ["size"], "Document: size is required by the description only"),
    (f"{SCHEMAS} BatchDefaults additionalProperties", None, "BatchDefaults: unknown fields are refused"),
    (f"{SCHEMAS} Recipient properties kind enum", ["consumer"], "Recipient: kind is described with the words"),
    (f"{SCHEMAS} NewExport properties kinds items", {}, "NewExport: kinds is described with the words []"),
    (f"{SCHEMAS} NewDelivery properties subject maxLength", 9, "NewDelivery: subject is described with 9 characters"),
    (f"{SCHEMAS} NewDelivery properties documents maxItems", 9, "NewDelivery: documents is described with (1, 9)"),
    (f"{SCHEMAS} Recipient properties organisation", {"type": "object"}, "Recipient/organisation: what is in it"),
    (f"{SCHEMAS} NewDelivery properties client_ref pattern", ".*", "NewDelivery properties client_ref: is described"),
    ("paths /v1/exports post requestBody", None, "createExport application/json: is asked and not described"),
]
Mistakes = Mapping[str, str]  # what is wrong, by its pointer
Send = Callable[[object], Awaitable[Mistakes]]


def api() -> dict[str, Any]:
    return description(PUBLIC_URL, is_sandbox=True)


# ------------------------------------------------------------------ bodies of JSON
@dataclass(frozen=True)
class Node:
    """An object that a request may have. path: the fields and places in lists that lead to it."""

    at: str
    path: tuple[str | int, ...]
    schema: Table

    @property
    def properties(self) -> Table:
        """By their names; a free name stands for all of them."""
        free = self.schema.get("additionalProperties")
        return {**self.schema.get("properties", {}), **({"free": free} if isinstance(free, dict) else {})}

    def body(self, fields: Mapping[str, object]) -> object:
        """A request with these fields in this object, and nothing else."""
        found: object = fields
        for step in reversed(self.path):
            found = [found] if isinstance(step, int) else {step: found}
        return found

    def pointer(self, name: str) -> str:
        """RFC 6901."""
        return "".join(f"/{step}" for step in (*self.path, name))


def nodes(document: Table, at: str, schema: Table, path: tuple[str | int, ...] = ()) -> Iterator[Node]:
    """The object of a schema and those inside."""
    at = schema["$ref"].rpartition("/")[2] if "$ref" in schema else at
    schema = resolved(document, schema)
    for branch in schema.get("oneOf", ()) if "properties" not in schema else ():
        yield from nodes(document, at, branch, path)
    if "array" in types_of(schema):
        yield from nodes(document, at, schema["items"], (*path, 0))
    if "object" in types_of(schema):
        yield Node(at, path, schema)
        for name, inner in schema.get("properties", {}).items():
            yield from nodes(document, f"{at}/{name}", inner, (*path, name))


async def differences(document: Table, sends: Mapping[str, Send]) -> list[str]:
    """Where the description of bodies and what the gateway says of them differ."""
    described = {
        f"{operation.name} {content_type}": media["schema"]
        for operation in operations(document)
        for content_type, media in operation.table.get("requestBody", {}).get("content", {}).items()
        if content_type == "application/json" or "metadata" in media.get("encoding", {})
    }
    found = [f"{name}: is described and not asked" for name in described.keys() - sends.keys()]
    found += [f"{name}: is asked and not described" for name in sends.keys() - described.keys()]
    for name, schema in described.items():
        metadata = resolved(document, schema)["properties"]["metadata"] if "multipart" in name else schema
        for node in nodes(document, name, metadata) if name in sends else ():
            found += [f"{node.at}: {what}" for what in await _of(document, node, sends[name])]
    return list(dict.fromkeys([*found, *unlike_patterns(document)]))


async def _of(document: Table, node: Node, send: Send) -> list[str]:
    found = []
    if "properties" in node.schema:
        found += await _names(node, send)
    elif "additionalProperties" not in node.schema:
        found.append("what is in it is not described")
    schemas = {name: resolved(document, schema) for name, schema in node.properties.items()}
    wrong = await send(node.body({n: [WRONG] if "array" in types_of(s) else WRONG for n, s in schemas.items()}))
    empty = await send(node.body({n: [] if "array" in types_of(s) else "" for n, s in schemas.items()}))
    for name, schema in schemas.items():
        detail, at = wrong.get(node.pointer(name), ""), f"{name} "
        said = WORDS.search(detail)
        words = {word for word in schema.get("items", schema).get("enum", ()) if isinstance(word, str)}
        if (set(said[1].split(", ")) if said else set()) != words:
            found.append(f"{at}is described with the words {sorted(words)}, the gateway says: {detail}")
        detail = empty.get(node.pointer(name), "")
        if (length := LENGTH.search(detail)) and int(length[1]) != schema.get("maxLength"):
            found.append(f"{at}is described with {schema.get('maxLength')} characters, the gateway says: {detail}")
        counts = (schema.get("minItems"), schema.get("maxItems"))
        if (count := COUNT.search(detail)) and (int(count[1]), int(count[2])) != counts:
            found.append(f"{at}is described with {counts} entries, the gateway says: {detail}")
    return found


async def _names(node: Node, send: Send) -> list[str]:
    """Fields that are read, and required, against those that are described. One of several alternatives is not."""
    mistakes = await send(node.body({UNKNOWN: 1}))
    refused = KNOWN.search(mistakes.get(node.pointer(UNKNOWN), ""))
    if refused is None:
        return ["an unknown field is not refused"]
    if node.schema.get("additionalProperties") is not False:
        return ["unknown fields are refused, but described otherwise"]
    known, described = {*refused[1].split(", "), *READ_BEFORE.get(node.at, ())}, set(node.schema["properties"])
    alternatives = {name for one in node.schema.get("oneOf", ()) for name in one["required"]}
    required = set(node.schema.get("required", ())) - alternatives
    needed = {n for n in described if mistakes.get(node.pointer(n), "").startswith("is required")} - alternatives
    return [
        *(f"{name} is read and not described" for name in sorted(known - described)),
        *(f"{name} is described and not read" for name in sorted(described - known)),
        *(f"{name} is required by the gateway only" for name in sorted(needed - required)),
        *(f"{name} is required by the description only" for name in sorted(required - needed)),
    ]


def told(answer: httpx.Response) -> Mistakes:
    """What the gateway says of a body; the first mistake of each field."""
    assert answer.status_code in (200, 422), answer.text  # 200: of `validate`
    return {error["pointer"]: error["detail"] for error in reversed(answer.json()["errors"])}


async def senders(world: World) -> dict[str, Send]:
    """How a body gets to each operation; what the address names is there."""
    client = await world.sender()
    webhook = (await client.post("/v1/webhooks", json={"url": "https://sender.example/"})).headers["location"]
    batch = (await client.post("/v1/batches", json={"name": "March", "format": "csv"})).headers["location"]

    def asking(ask: Callable[[bytes], Awaitable[httpx.Response]]) -> Send:
        answers: dict[bytes, Mistakes] = {}  # the same is asked again for each planted difference

        async def send(body: object) -> Mistakes:
            content = json.dumps(body).encode()
            if content not in answers:
                answers[content] = told(await ask(content))
            return answers[content]

        return send

    def json_to(method: str, path: str) -> Send:
        headers = {"Content-Type": "application/json"}
        return asking(lambda content: client.request(method, path, content=content, headers=headers))

    def in_form(content: bytes) -> Awaitable[httpx.Response]:
        return client.post("/v1/deliveries", files={"metadata": ("metadata", content, "application/json")})

    return {
        "upload application/json": json_to("POST", "/v1/uploads"),
        "submit application/json": json_to("POST", "/v1/deliveries"),
        "submit multipart/form-data": asking(in_form),
        "validate application/json": json_to("POST", "/v1/deliveries/validate"),
        "requestConsent application/json": json_to("POST", "/v1/consents/requests"),
        "putConsent application/json": json_to("PUT", "/v1/consents/one"),
        "advanceSandboxClock application/json": json_to("POST", "/v1/sandbox/clock"),
        "createExport application/json": json_to("POST", "/v1/exports"),
        "createWebhook application/json": json_to("POST", "/v1/webhooks"),
        "changeWebhook application/json": json_to("PATCH", webhook),
        "replayWebhook application/json": json_to("POST", f"{webhook}/replay"),
        "openBatch application/json": json_to("POST", "/v1/batches"),
        "submitBatch application/json": json_to("POST", f"{batch}/submit"),
    }


def unlike_patterns(document: Table) -> list[str]:
    """Texts of a fixed form that are described with another one."""
    found = []
    for path, pattern in PATTERNS.items():
        schema = document["components"]["schemas"]
        for step in path.split():
            schema = schema.get(step, {})
        if schema.get("pattern") != f"^{pattern.pattern}$":
            found.append(f"{path}: is described with {schema.get('pattern')}, the gateway takes {pattern.pattern}")
    return found


async def test_bodies_are_read_as_described(world: World) -> None:
    """Every field that is read is described, and the other way round; so are required ones, words and lengths. A
    difference, wherever it is planted, is found and named."""
    sends = await senders(world)
    assert await differences(api(), sends) == []
    for path, value, named in PLANTED:
        found = await differences(changed(api(), path, value), sends)
        assert [what for what in found if what.startswith(named)], (path, found)


# ------------------------------------------------------------------ forms
async def test_every_field_of_the_token_form_is_read(world: World) -> None:
    """Each one that is described changes the answer when it is another."""
    client = world.anonymous()
    right = {"grant_type": "client_credentials", "client_id": "demo", "client_secret": SECRET}
    signed = {**right, "client_assertion": WRONG, "client_assertion_type": ASSERTION_TYPE}

    async def said(form: Mapping[str, str]) -> str:
        answer: dict[str, str] = (await client.post("/oauth2/token", data=dict(form))).json()
        return answer.get("error_description", "")

    for name in api()["components"]["schemas"]["TokenRequest"]["properties"]:
        form = signed if name == "client_assertion_type" else right
        assert await said({**form, name: WRONG}) != await said(form), name


async def test_every_part_of_a_verification_is_read(world: World) -> None:
    """The gateway names the part that is wrong: those are the parts that are described."""
    wrong: list[dict[str, Any]] = [
        {"files": {"other": b"x"}},
        {"files": {"proof": b"x"}, "data": {"content": "no file"}},
        {"files": {"proof": b"x"}, "data": {"content_sha256": WRONG}},
    ]
    answers = [await world.anonymous().post("/v1/verify", **form) for form in wrong]
    assert {pointer for answer in answers for pointer in told(answer)} == set(
        api()["components"]["schemas"]["VerifyRequest"]["properties"]
    )


# ------------------------------------------------------------------ parameters
def parameters(document: Table, operation: Operation, place: str) -> set[str]:
    """The names of those in the path, the query or the headers."""
    table = [resolved(document, parameter) for parameter in operation.table.get("parameters", ())]
    return {parameter["name"] for parameter in table if parameter["in"] == place}


def test_an_address_has_the_parameters_that_are_described() -> None:
    """Every name in braces, and no other."""
    for operation in operations(api()):
        assert parameters(api(), operation, "path") == set(re.findall(r"{(\w+)}", operation.path)), operation.name


async def unlike_queries(document: Table, client: httpx.AsyncClient, batch: str) -> list[str]:
    """Parameters that are described and refused, or taken and not described; of addresses that refuse unknown ones."""
    every = {name for operation in operations(api()) for name in parameters(api(), operation, "query")}
    found = []
    for operation in operations(document):
        described = parameters(document, operation, "query")
        path = operation.path.replace("{batch}", batch)
        if "{" not in path and await refuses(client, operation.method, path, UNKNOWN):
            taken = {name for name in every if not await refuses(client, operation.method, path, name)}
            found += [f"{operation.name}: {name}" for name in sorted(taken ^ described)]
    return found


async def refuses(client: httpx.AsyncClient, method: str, path: str, name: str) -> bool:
    """Whether the gateway does not know this parameter. Any value is wrong: nothing is done or waited for."""
    answer = await client.request(method, path, params={name: WRONG})
    errors = answer.json()["errors"] if answer.status_code == 422 else []
    return {"field_unknown"} == {error["code"] for error in errors}


async def test_lists_take_the_parameters_that_are_described(world: World) -> None:
    """And refuse those of other lists."""
    client = await world.sender()
    batch = (await client.post("/v1/batches", json={"name": "March", "format": "csv"})).json()["id"]
    assert await unlike_queries(api(), client, batch) == []
    without = changed(api(), "paths /v1/batches get parameters", [{"$ref": "#/components/parameters/State"}])
    found = await unlike_queries(without, client, batch)
    assert found == ["listBatches: cursor", "listBatches: limit", "listBatches: state"]
