"""Requests for consent: asked once, by nobody twice, and what the sender sees of them."""

from typing import Any

import anyio
import pytest

from gateway.portal.consent import ANSWERS
from tests.gateway.sender.conftest import CONSENT, World, problem

pytestmark = pytest.mark.anyio

REQUESTS = "/v1/consents/requests"
ASK = {"ref": "c-1", "email": "jean@example.org", "given_names": "Jean", "birth_name": "Martin", "language": "en"}


async def answer(world: World, ref: str, said: str) -> None:
    """As the page does it."""
    request = world.psql(f"SELECT id FROM qerds.consent_request WHERE ref = '{ref}'").strip()
    await world.parts.consents.answer(request, ANSWERS[said], "en", "the text")  # type: ignore[arg-type]


async def test_a_request_is_made_once(world: World) -> None:
    """202 and one message to notify; the same again is 200 and no second mail; another under the ref is a conflict."""
    client = await world.sender()
    first = await client.post(REQUESTS, json=ASK)
    assert first.status_code == 202, first.text
    assert first.json()["state"] == "asked"
    assert first.headers["location"] == f"{REQUESTS}/c-1"
    again = await client.post(REQUESTS, json=ASK)
    assert (again.status_code, again.json()) == (200, first.json())
    assert (await client.get(f"{REQUESTS}/c-1")).json() == first.json()
    problem(await client.post(REQUESTS, json={**ASK, "language": "fr"}), 409, "client_ref_conflict", "ref")
    assert world.psql("SELECT kind, lane FROM outbox.notify").split() == ["ask_consent|2"]
    problem(await client.get("/v1/consents/c-1"), 404, "not_found")


async def test_a_yes_is_a_consent(world: World) -> None:
    """GET shows it with the digest of the text; the sender may withdraw it, and both sides see who did."""
    client = await world.sender()
    await client.post(REQUESTS, json=ASK)
    await answer(world, "c-1", "yes")
    seen = (await client.get(f"{REQUESTS}/c-1")).json()
    assert (seen["state"], seen["text"]) == ("given", "the text")
    consent = (await client.get("/v1/consents/c-1")).json()
    assert (consent["state"], consent["method"], consent["email"]) == ("given", "request", "jean@example.org")
    assert (consent["text_sha256"], consent["obtained_at"]) == (seen["text_sha256"], seen["answered_at"])
    withdrawn = (await client.post("/v1/consents/c-1/withdraw")).json()
    assert (withdrawn["state"], withdrawn["withdrawn_by"]) == ("withdrawn", "sender")
    assert (await client.get(f"{REQUESTS}/c-1")).json()["state"] == "withdrawn"
    types = world.psql("SELECT type, ref FROM qerds.event_unsequenced ORDER BY id").split()
    assert types == ["consent.given|c-1", "consent.withdrawn|c-1"]


async def test_a_no_makes_no_consent(world: World) -> None:
    """The ref stays the request's: a PUT under it is a conflict, so nobody can overrule the answer."""
    client = await world.sender()
    await client.post(REQUESTS, json=ASK)
    problem(await client.put("/v1/consents/c-1", json=CONSENT), 409, "client_ref_conflict", "ref")
    await answer(world, "c-1", "no")
    assert (await client.get(f"{REQUESTS}/c-1")).json()["state"] == "refused"
    problem(await client.put("/v1/consents/c-1", json=CONSENT), 409, "client_ref_conflict", "ref")
    problem(await client.get("/v1/consents/c-1"), 404, "not_found")
    assert world.count("qerds.consent") == 0
    assert world.psql("SELECT type FROM qerds.event_unsequenced").split() == ["consent.refused"]


async def test_a_ref_names_a_consent_or_a_request(world: World) -> None:
    """A ref that a recorded consent has cannot be asked under."""
    client = await world.sender()
    await client.put("/v1/consents/c-1", json=CONSENT)
    problem(await client.post(REQUESTS, json=ASK), 409, "client_ref_conflict", "ref")
    assert world.count("qerds.consent_request") == 0


async def test_nobody_is_flooded(world: World) -> None:
    """One open request to an address, however it is spelt, and three in 30 days; another sender is not held back."""
    client = await world.sender()
    await client.post(REQUESTS, json=ASK)
    shouted = {**ASK, "ref": "c-2", "email": "JEAN@example.org"}
    problem(await client.post(REQUESTS, json=shouted), 409, "consent_request_open", "/email")
    for ref in ("c-1", "c-2", "c-3"):
        assert (await client.post(REQUESTS, json={**ASK, "ref": ref})).is_success
        await answer(world, ref, "no")
    for changed in ("email", "'Jean+' || ref || '@example.org'"):  # as an older version let them in
        world.psql(f"UPDATE qerds.consent_request SET email = {changed}")
        refused = await client.post(REQUESTS, json={**ASK, "ref": "c-4"})
        problem(refused, 409, "consent_asked_too_often", "/email")
    tagged = await client.post(REQUESTS, json={**ASK, "ref": "c-4", "email": "jean+4@example.org"})
    problem(tagged, 422, "email_invalid", "/email")
    assert 29 * 86400 < int(refused.headers["retry-after"]) <= 30 * 86400
    assert (await client.post(REQUESTS, json={**ASK, "ref": "c-4", "email": "other@example.org"})).status_code == 202
    assert (await (await world.sender("other")).post(REQUESTS, json=ASK)).status_code == 202


async def test_a_mail_that_was_refused_holds_nobody_up(world: World) -> None:
    """The sender sees that the address does not work, and may correct it or ask again."""
    client = await world.sender()
    await client.post(REQUESTS, json=ASK)
    world.psql(
        "INSERT INTO qerds.consent_mail SELECT id, 'm', sha256('l'), sha256('t'), '', now() FROM qerds.consent_request;"
        "INSERT INTO qerds.consent_mail_result (request, outcome, code, detail) "
        "SELECT id, 'refused', 550, 'no' FROM qerds.consent_request"
    )
    assert (await client.get(f"{REQUESTS}/c-1")).json()["state"] == "undeliverable"
    assert (await client.post(REQUESTS, json={**ASK, "ref": "c-2"})).status_code == 202


async def test_another_senders_request_is_not_there(world: World) -> None:
    """Reading it is 404, and so is what cannot be a ref."""
    await (await world.sender()).post(REQUESTS, json=ASK)
    other = await world.sender("other")
    problem(await other.get(f"{REQUESTS}/c-1"), 404, "not_found")
    problem(await other.get(f"{REQUESTS}/%00"), 404, "not_found")


async def test_a_suspended_sender_asks_nobody(world: World) -> None:
    """Who may send no letters may send no questions; what was asked it may still read."""
    client = await world.sender()
    await client.post(REQUESTS, json=ASK)
    world.psql(
        "INSERT INTO outbox.pause (scope, subject, reason) SELECT 'sender', sender::text, 'unpaid' "
        "FROM qerds.sender_client WHERE client_id = 'demo'"
    )
    problem(await client.post(REQUESTS, json={**ASK, "ref": "c-2"}), 403, "sender_suspended")
    assert (await client.get(f"{REQUESTS}/c-1")).status_code == 200


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"ref": "a b"}, "field_invalid", "/ref"),
        ({"ref": "jean@example.org"}, "field_invalid", "/ref"),
        ({"ref": None}, "field_invalid", "/ref"),
        ({"email": "nobody"}, "email_invalid", "/email"),
        ({"given_names": ""}, "field_invalid", "/given_names"),
        ({"birth_name": None}, "field_invalid", "/birth_name"),
        ({"language": "de"}, "field_invalid", "/language"),
        ({"method": "request"}, "field_unknown", "/method"),
    ],
)
async def test_bad_requests_ask_nobody(world: World, changes: dict[str, Any], code: str, pointer: str) -> None:
    """Each wrong field is named, and nothing is stored."""
    client = await world.sender()
    problem(await client.post(REQUESTS, json={**ASK, **changes}), 422, code, pointer)
    assert world.count("qerds.consent_request") == world.count("outbox.notify") == 0


async def test_no_sender_claims_that_we_asked(world: World) -> None:
    """The method of consents given on our own page is refused in a PUT."""
    client = await world.sender()
    problem(
        await client.put("/v1/consents/c-9", json={**CONSENT, "method": "request"}), 422, "field_invalid", "/method"
    )


async def test_of_many_at_once_one_is_asked(world: World) -> None:
    """Requests to one address that race: one mail. A PUT and a request that race for a ref: one of the two has it."""
    client = await world.sender()
    answers: list[int] = []

    async def ask(ref: str, email: str) -> None:
        answers.append((await client.post(REQUESTS, json={**ASK, "ref": ref, "email": email})).status_code)

    async def put(ref: str) -> None:
        answers.append((await client.put(f"/v1/consents/{ref}", json=CONSENT)).status_code)

    async with anyio.create_task_group() as tasks:
        for n in range(6):
            tasks.start_soon(ask, f"c-{n}", "jean@example.org")
    assert sorted(answers) == [202, 409, 409, 409, 409, 409]
    answers.clear()
    async with anyio.create_task_group() as tasks:
        for n in range(4):
            tasks.start_soon(ask, f"d-{n}", f"person{n}@example.org")
            tasks.start_soon(put, f"d-{n}")
    assert len([a for a in answers if a in (201, 202)]) == 4
    assert answers.count(409) == 4
    both = "SELECT count(*) FROM qerds.consent c JOIN qerds.consent_request r ON r.ref = c.ref AND r.sender = c.sender"
    assert world.psql(both).strip() == "0"
