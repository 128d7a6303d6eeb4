"""A running bridge over time: a token that goes away, the legal clock, what it publishes, its keys."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import anyio
import anyio.to_thread
import pytest
from cryptography import x509

from hsm_bridge import wire
from hsm_bridge.client import BridgeAway
from pipeline.formats import tst
from pipeline.formats.statement import StatedKey, read_statement
from tests.bridge_process import BridgeHome, describe, health, stop
from tests.servers import PostgresServer
from tests.waiting import until

IMPRINT = wire.TimeStamp(imprint=bytes(32), event_time=None)
RECOVERY_SECONDS_MAX = 15
CRL_SECONDS_MAX = 15

pytestmark = pytest.mark.anyio


async def test_a_token_that_vanishes_and_returns_needs_nobody(make_home: Callable[[], BridgeHome]) -> None:
    """While it is away callers hear so at once and nothing is half done; back again, it serves without a restart."""
    home = make_home()
    process = home.start()
    try:
        async with aclosing(home.client("timestamp")) as client:
            await client.ask([IMPRINT])
            away = home.token.token_dir.with_name("away")
            home.token.token_dir.rename(away)
            with pytest.raises(BridgeAway):
                await client.ask([IMPRINT])
            assert not (await health(client)).token_up
            with pytest.raises(BridgeAway):
                await client.ask([IMPRINT])
            away.rename(home.token.token_dir)

            async def up() -> bool:
                return (await health(client)).token_up

            await until(up, RECOVERY_SECONDS_MAX)
            [stamped] = await client.ask([IMPRINT])
            assert isinstance(stamped, wire.Stamped)
    finally:
        assert stop(process) == 0, (home.home / "bridge.log").read_text()


async def test_the_legal_clock_rules_tokens_and_revocation_lists(
    make_home: Callable[[], BridgeHome], postgres: PostgresServer
) -> None:
    """Sixteen days on by the demo clock: tokens carry the new time, and a fresh revocation list is published soon."""
    home = make_home()
    process = home.start()
    try:
        async with aclosing(home.client("timestamp")) as client:
            before = (await describe(client)).crl
            postgres.psql("INSERT INTO qerds.legal_clock (ahead) VALUES (interval '16 days')", home.database.name)
            event_time = datetime.now(UTC).replace(microsecond=0) + timedelta(days=16)
            [stamped] = await client.ask([wire.TimeStamp(imprint=bytes(32), event_time=event_time)])
            assert isinstance(stamped, wire.Stamped), stamped
            assert tst.parse_token(stamped.token).gen_time >= event_time

            async def renewed() -> bool:
                return (await describe(client)).crl != before

            await until(renewed, CRL_SECONDS_MAX)
            described = await describe(client)
        fresh = x509.load_der_x509_crl(described.crl)
        assert fresh.last_update_utc >= event_time
        assert fresh.is_signature_valid(x509.load_der_x509_certificate(described.ca).public_key())  # type: ignore[arg-type]
        assert (home.home / "trust" / "crl.der").read_bytes() == described.crl
        published = "SELECT count(*) FROM qerds.published_document WHERE name = 'crl'"

        async def twice() -> bool:
            return postgres.psql(published, home.database.name).strip() == "2"

        await until(twice, CRL_SECONDS_MAX)
    finally:
        assert stop(process) == 0, (home.home / "bridge.log").read_text()


async def test_no_token_while_the_legal_clock_cannot_be_read(
    make_home: Callable[[], BridgeHome], postgres: PostgresServer
) -> None:
    """Without the installation's time nothing is stamped; what needs no legal time is served on."""
    home = make_home()
    process = home.start()
    try:
        end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{home.database.name}'"
        async with aclosing(home.client("archive")) as client:
            postgres.psql(f"ALTER DATABASE {home.database.name} ALLOW_CONNECTIONS false")
            postgres.psql(end)
            with pytest.raises(BridgeAway, match="clock_away"):
                await client.ask([IMPRINT])
            assert (await health(client)).token_up
            postgres.psql(f"ALTER DATABASE {home.database.name} ALLOW_CONNECTIONS true")
            assert len(await client.ask([IMPRINT])) == 1
    finally:
        assert stop(process) == 0, (home.home / "bridge.log").read_text()


async def test_a_database_that_hangs_up_in_the_middle_never_ends_the_bridge(
    make_home: Callable[[], BridgeHome], postgres: PostgresServer
) -> None:
    """Connections ended at any moment of a statement give clock_away and a new connection, whatever the driver says."""
    home = make_home()
    process = home.start()
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{home.database.name}'"
    try:
        async with aclosing(home.client("archive")) as client:

            async def stamp() -> None:
                with contextlib.suppress(BridgeAway):
                    await client.ask([IMPRINT])

            for _ in range(20):
                async with anyio.create_task_group() as tasks:
                    for _ in range(12):
                        tasks.start_soon(stamp)
                    await anyio.to_thread.run_sync(postgres.psql, end)
            await stamp()
            assert len(await client.ask([IMPRINT])) == 1
    finally:
        assert stop(process) == 0, (home.home / "bridge.log").read_text()


def test_what_the_bridge_is_stands_in_the_database(bridge: BridgeHome, postgres: PostgresServer) -> None:
    """Keys and documents are published before READY, equal to what describe tells, and stated by the authority."""
    described = bridge.describe()
    rows = postgres.psql(
        "SELECT json_agg(json_build_array(key_id, use, encode(spki, 'hex'), encode(certificate, 'hex')))"
        " FROM qerds.published_key",
        bridge.database.name,
    )
    expected = [[k.key_id, k.use, k.spki.hex(), k.certificate.hex() if k.certificate else None] for k in described.keys]
    assert sorted(json.loads(rows)) == sorted(expected)
    documents = postgres.psql(
        "SELECT json_agg(json_build_array(name, version)) FROM qerds.published_document", bridge.database.name
    )
    assert sorted(json.loads(documents)) == [["ca", 1], ["crl", 1], ["identity_jwks", 1]]
    assert {k.use for k in described.keys} == {"seal", "time", "intake", "identity", "webhook"}
    published = postgres.psql(
        "SELECT encode(body, 'hex') FROM qerds.published_statement ORDER BY id DESC LIMIT 1", bridge.database.name
    )
    statement = read_statement(bytes.fromhex(published), described.ca, datetime.now(UTC))
    for k in described.keys:
        statement.check_key(StatedKey(k.key_id, k.use, k.spki, k.certificate, k.not_before, k.not_after))
    statement.check_document("ca", 1, described.ca)


def test_every_use_of_a_key_is_recorded_and_no_key_is(bridge: BridgeHome) -> None:
    """Intent and result of a wrap stand in the chain; the wrapped key itself does not, in any spelling."""

    async def wrap() -> None:
        async with aclosing(bridge.client("encrypt")) as client:
            await client.ask([wire.WrapContent(context=b"none", keys=KEY)])

    anyio.run(wrap)
    text = (bridge.home / "bridge" / "audit.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    phases = [line["phase"] for line in lines if line.get("op") == "wrap_content"]
    assert phases[-2:] == ["intent", "result"]
    assert KEY.hex() not in text and "context_invalid" in text


KEY = b"\xa7" * 32


def test_the_ceremony_can_be_repeated(make_home: Callable[[], BridgeHome]) -> None:
    """A second run makes nothing; a run after a crash certifies what was left without; files are as verifiers need."""
    home = make_home()
    assert home.ceremony() == "all keys are there\n"
    public = home.home / "bridge" / "public"
    seal, before = next(public.glob("seal-*.der")), sorted(p.name for p in public.iterdir())
    seal.unlink()
    assert home.ceremony() == f"made certificate of {seal.stem}\n"
    assert sorted(p.name for p in public.iterdir()) == before
    authority = x509.load_pem_x509_certificate((home.home / "trust" / "ca.pem").read_bytes())
    constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical and constraints.value.ca and constraints.value.path_length == 0
    assert "Demonstration" in authority.subject.rfc4514_string()
    x509.load_der_x509_certificate(seal.read_bytes()).verify_directly_issued_by(authority)


@pytest.mark.parametrize("spoil", ["audit", "certificate", "pin"])
def test_a_bridge_that_cannot_be_trusted_does_not_start(make_home: Callable[[], BridgeHome], spoil: str) -> None:
    """A broken record, a foreign certificate or a wrong PIN: it says what is wrong and exits for a person to look."""
    home = make_home()
    public = home.home / "bridge" / "public"
    if spoil == "audit":
        (home.home / "bridge" / "audit.jsonl").write_text('{"n":7}\n')
    elif spoil == "certificate":
        next(public.glob("seal-*.der")).write_bytes(next(public.glob("tsu-*.der")).read_bytes())
    else:
        home.token.pin_file.write_text("0000\n")
    environment = {"QERDS_CONFIG": str(home.config_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-m", "hsm_bridge"], env=environment, capture_output=True, text=True, timeout=15, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (4, 1), done.stderr
