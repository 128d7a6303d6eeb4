"""The sender's program against a real gateway process: verbs, exit statuses, retries, readiness and drain."""

import base64
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from deploy.local.settings import write
from pipeline.client.answers import Refused, Unreachable
from pipeline.client.api import QerdsClient
from pipeline.client.credentials import CredentialsMissing, find_credentials
from pipeline.formats.identity_providers import EMBEDDED
from pipeline.ports.bridge import PublishedKey
from tests.contract.facts_worlds import insert
from tests.fakes.bridge import FakeBridge
from tests.gateway.sender.conftest import CONSENT, PDF, PUBLIC_URL, SECRET, World, letter
from tests.waiting import until
from tests.worlds.unsteady import Unsteady

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
PROCESS_SECONDS = 15


@dataclass
class Installation:
    """A gateway process, and the state directory that names its demo client."""

    process: subprocess.Popen[bytes]
    state: Path
    url: str
    notify: socket.socket

    def verb(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "pipeline.client", *arguments]
        return subprocess.run(
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PROCESS_SECONDS,
            check=False,
            env={**os.environ, **environment},
        )

    def send(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        who = [
            "--to",
            "jean@example.org",
            "--given-names",
            "Jean",
            "--birth-name",
            "Martin",
            "--state",
            str(self.state),
        ]
        return self.verb("send", *arguments, *who)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def publish(world: World, state: Path) -> None:
    """What a bridge publishes and states, and the authority that the set-up has pinned."""
    bridge = FakeBridge(legal_now=lambda: datetime.now(UTC), random=random.Random(1).randbytes)
    anchor = x509.load_der_x509_certificate(bridge.authority)
    (state / "ca.pem").write_bytes(anchor.public_bytes(Encoding.PEM))
    keys = [{name: getattr(key, name) for name in PublishedKey.__slots__} for key in bridge.published()]
    world.psql("DELETE FROM qerds.published_key")
    world.psql(";".join(insert("published_key", **key) for key in keys))
    world.psql(insert("published_statement", body=bridge.statement()))


@pytest.fixture
def installation(world: World, state_dir: Path) -> Iterator[Installation]:
    publish(world, state_dir)
    port = free_port()
    config = tomllib.loads(settings_text(world, state_dir, port))
    assert config["gateway"]["port"] == port
    (state_dir / "objects").mkdir()
    (state_dir / "secrets").mkdir()
    client = {"client_id": "demo", "client_secret": SECRET, "base_url": f"http://127.0.0.1:{port}"}
    (state_dir / "secrets" / "demo-client.json").write_text(json.dumps(client))
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(state_dir / "notify"))
    notify.settimeout(PROCESS_SECONDS)
    environment = {
        **os.environ,
        "QERDS_CONFIG": str(state_dir / "qerds.toml"),
        "NOTIFY_SOCKET": str(state_dir / "notify"),
    }
    with (state_dir / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-m", "gateway"], cwd=ROOT, env=environment, stderr=log, stdout=log
        )
    try:
        assert notify.recv(100) == b"READY=1", (state_dir / "log").read_text()
        yield Installation(process, state_dir, client["base_url"], notify)
    finally:
        process.kill()
        process.wait(PROCESS_SECONDS)
        notify.close()


def settings_text(world: World, state: Path, port: int) -> str:
    database = world.parts.config.database
    path = state / "qerds.toml"
    write(
        path,
        {
            "config_version": "embedded-1",
            "mode": "non_qualified",
            "embedded": True,
            "provider": {"name": "Demo", "country": "FR", "policy_oid": "2.25.1.1", "tsa_policy_oid": "2.25.1.2"},
            "database": {
                "socket_dir": database.socket_dir,
                "port": database.port,
                "name": database.name,
                "password_dir": database.password_dir,
            },
            "token": {"module": "none", "label": "none", "pin_file": "none"},
            "bridge": {"socket_dir": state, "data_dir": state, "public_dir": state, "allowed_uids": {}},
            "objects": {"root": state / "objects"},
            "mail": {"host": "127.0.0.1", "port": 25, "security": "none", "from_address": "n@registered.example"},
            "gateway": {"host": "127.0.0.1", "port": port, "public_url": f"http://127.0.0.1:{port}"},
            "identity": {
                "minimum_level": "substantial",
                "providers": {
                    EMBEDDED: {
                        "kind": "franceconnect_plus",
                        "issuer": "http://127.0.0.1:8403",
                        "client_id": "qerds-portal",
                        "client_secret_file": "none",
                        "jwks_file": "none",
                    }
                },
            },
        },
    )
    return path.read_text("utf-8")


# ------------------------------------------------------------------ the process and the verbs
async def test_send_and_its_exit_statuses(world: World, installation: Installation, tmp_path: Path) -> None:
    """One command sends a letter; a refusal is 1, wrong usage 2, nothing to speak for 3, nobody there 4."""
    document = tmp_path / "Résiliation.pdf"
    document.write_bytes(PDF)

    def story() -> None:
        sent = installation.send(str(document), "--kind", "professional", "--ref", "r-1", "--json")
        assert sent.returncode == 0, sent.stderr
        body = json.loads(sent.stdout)
        assert (body["state"], body["client_ref"]) == ("submitted", "r-1")
        assert "Résiliation.pdf" in sent.stderr
        again = installation.send(str(document), "--kind", "professional", "--ref", "r-1")
        assert again.returncode == 0
        assert body["number"] in again.stdout
        assert "was there already" in again.stderr

        refused = installation.send(str(document), "--kind", "professional", "--ref", "a@b")
        assert (refused.returncode, "/client_ref" in refused.stderr) == (1, True)
        other = tmp_path / "x.exe"
        other.write_bytes(b"MZ")
        assert installation.send(str(other), "--kind", "professional").returncode == 1

        consumer = installation.send(str(document), "--kind", "consumer")
        assert (consumer.returncode, "--consent" in consumer.stderr) == (2, True)
        assert installation.send(str(document), "--kind", "consumer", "--record-consent").returncode == 0
        assert installation.send(str(tmp_path / "absent.pdf"), "--kind", "professional").returncode == 2
        assert installation.send(str(document)).returncode == 2

        waited = installation.send(
            str(document), "--kind", "professional", "--wait", "deposited", "--wait-seconds", "0.3"
        )
        assert waited.returncode == 4
        assert (
            installation.verb("get", body["number"], "--evidence", "--state", str(installation.state)).returncode == 1
        )

        nobody = installation.verb("get", "1", "--package", "--state", str(tmp_path))
        assert (nobody.returncode, "qerds up" in nobody.stderr) == (3, True)

    await anyio.to_thread.run_sync(story)
    assert world.psql("SELECT DISTINCT file_name FROM qerds.delivery_document").strip() == "Résiliation.pdf"


async def test_wait_tells_how_it_ended(world: World, installation: Installation, tmp_path: Path) -> None:
    """--wait is 0 when the letter came that far or further, 1 when it ended elsewhere."""
    document = tmp_path / "a.pdf"
    document.write_bytes(PDF)
    arguments = [str(document), "--kind", "professional", "--ref", "r-1"]

    def story() -> None:
        assert installation.send(*arguments).returncode == 0
        world.psql("UPDATE qerds.delivery SET state = 'deposited'; UPDATE qerds.delivery SET state = 'notified'")
        assert installation.send(*arguments, "--wait", "deposited").returncode == 0
        world.psql("UPDATE qerds.delivery SET state = 'refused'")
        assert installation.send(*arguments, "--wait", "received").returncode == 1

    await anyio.to_thread.run_sync(story)


async def test_the_client_lists_letters_page_by_page(world: World, tmp_path: Path) -> None:
    """Each once, in the order of the list; filters go to the service."""
    document = tmp_path / "a.pdf"
    document.write_bytes(PDF)
    async with QerdsClient(PUBLIC_URL, "demo", SECRET, world.application()) as client:
        upload = await client.upload(document)
        made = [await client.submit(letter(upload.id, client_ref=f"r-{n}")) for n in range(5)]
        assert [d.id async for d in client.deliveries(limit="2")] == [d.id for d in made]
        after = [d.id async for d in client.deliveries(changed_after=made[1].body["changed_at"])]
        assert after == [d.id for d in made[2:]]
        assert [d.id async for d in client.deliveries(state="received")] == []


async def test_a_drain_finishes_what_is_under_way(world: World, installation: Installation) -> None:
    """After SIGTERM a request that has begun is answered, and the exit status is 0."""
    may_end = anyio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield PDF[:5]
        await may_end.wait()
        yield PDF[5:]

    answers: list[httpx.Response] = []

    async def writing() -> bool:
        return bool(list((installation.state / "objects").rglob("*.unfinished")))

    async with httpx.AsyncClient(base_url=installation.url, timeout=PROCESS_SECONDS) as client:
        form = {"grant_type": "client_credentials", "client_id": "demo", "client_secret": SECRET}
        token = (await client.post("/oauth2/token", data=form)).json()["access_token"]
        assert (await client.get("/readyz")).text == "ready\n"

        async def upload() -> None:
            digest = base64.b64encode(sha256(PDF).digest()).decode()
            headers = {
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/pdf",
                "Content-Digest": f"sha-256=:{digest}:",
                "Content-Disposition": "attachment; filename=a.pdf",
            }
            answers.append(await client.post("/v1/uploads", content=slowly(), headers=headers))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(upload)
            await until(writing, PROCESS_SECONDS)
            installation.process.send_signal(signal.SIGTERM)
            assert await anyio.to_thread.run_sync(installation.notify.recv, 100) == b"STOPPING=1"
            may_end.set()
    assert answers[0].status_code == 201
    status = await anyio.to_thread.run_sync(installation.process.wait, PROCESS_SECONDS)
    assert status == 0, (installation.state / "log").read_text()
    assert "Warning" not in (installation.state / "log").read_text()


# ------------------------------------------------------------------ the library


async def test_lost_answers_double_nothing(world: World, tmp_path: Path) -> None:
    """When the first answer of every request is lost, the letter is still sent exactly once."""
    document = tmp_path / "a.pdf"
    document.write_bytes(PDF)
    async with QerdsClient(PUBLIC_URL, "demo", SECRET, Unsteady(world.application())) as client:
        uploaded = await client.upload(document)
        await client.put_consent("c-1", CONSENT)
        sent = await client.submit(letter(uploaded.id))
        assert (await client.delivery(sent.number)).id == sent.id
    assert world.count("qerds.delivery") == world.count("outbox.ingest") == 1


async def test_an_expired_token_is_renewed(world: World) -> None:
    """A token that the service forgot early costs one more request, not an error."""
    async with QerdsClient(PUBLIC_URL, "demo", SECRET, world.application()) as client:
        await client.me()
        world.psql("UPDATE qerds.access_token SET expires_at = now() - interval '1 s'")
        assert (await client.me())["sender"]["name"] == "Étude Dupont"


async def test_refusals_carry_their_mistakes(world: World) -> None:
    """A refusal names code, fields and remedy; a wrong secret is a refusal too."""
    async with QerdsClient(PUBLIC_URL, "demo", SECRET, world.application()) as client:
        with pytest.raises(Refused) as caught:
            await client.submit({})
        assert {pointer for pointer, _, _ in caught.value.mistakes} == {"/recipient", "/subject", "/documents"}
        assert caught.value.remedy
        assert [m["code"] for m in await client.validate({})] == ["field_invalid"] * 3
    async with QerdsClient(PUBLIC_URL, "demo", "wrong", world.application()) as client:
        with pytest.raises(Refused, match="client_unknown"):
            await client.me()


async def test_a_package_that_arrives_damaged_is_not_believed() -> None:
    """Bytes that do not have the digest in the ETag are no package."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth2/token":
            return httpx.Response(200, json={"access_token": "t", "expires_in": 600})
        return httpx.Response(200, content=b"PK", headers={"ETag": '"00"'})

    async with QerdsClient(PUBLIC_URL, "demo", SECRET, httpx.MockTransport(answer)) as client:
        with pytest.raises(Unreachable, match="damaged"):
            await client.package("1")


def test_where_credentials_come_from(tmp_path: Path) -> None:
    """The environment when it is complete, else the state directory; a missing or broken file says what to do."""
    given = {"QERDS_CLIENT_ID": "c", "QERDS_CLIENT_SECRET": "s", "QERDS_URL": "http://x"}
    assert find_credentials(None, given).client_id == "c"
    assert not find_credentials(None, given).is_demo
    (tmp_path / "secrets").mkdir()
    path = tmp_path / "secrets" / "demo-client.json"
    for broken in ("{", "[]", '{"client_id": "x"}'):
        path.write_text(broken)
        with pytest.raises(CredentialsMissing, match="client file"):
            find_credentials(tmp_path, {"QERDS_URL": "http://x"})
    client: dict[str, Any] = {"client_id": "d", "client_secret": "s", "base_url": "http://y"}
    path.write_text(json.dumps(client))
    assert find_credentials(tmp_path, {}).base_url == "http://y"
    assert find_credentials(tmp_path, {}).is_demo
    with pytest.raises(CredentialsMissing, match="qerds up"):
        find_credentials(tmp_path / "absent", {})
