"""The parts that measure, as far as they are pure or need only this process."""

import asyncio
import os
import re
from pathlib import Path

import pytest

from bench.feeding import inline, items, text
from bench.processes import cpu_seconds, family, memory_bytes
from bench.scenarios import SCENARIOS
from bench.smtp_sink import Sink
from bench.targets import TARGETS
from bench.wal import Written, parsed
from pipeline.adapters.mail import RelayMailer
from pipeline.formats.configuration import MailSettings
from pipeline.ports.outside import Relayed

ROOT = Path(__file__).parents[3]


def test_every_target_belongs_to_a_scenario() -> None:
    """No target that nothing measures."""
    assert {target.scenario for target in TARGETS} <= set(SCENARIOS)


def test_lines_are_numbered_and_keep_their_documents() -> None:
    """One line a document, in order, cut into parts that are whole lines."""
    documents = [inline(text("t", number, 100)) for number in range(3)]
    made = items("t", documents, first=7)
    assert made.lines == 3
    assert b"".join(made.parts).count(b"\n") == 3
    assert [f'"t-{n}"'.encode() in made.parts[0] for n in (7, 9, 10)] == [True, True, False]


def test_a_text_is_its_own_and_of_the_size_asked_for() -> None:
    """Distinct contents are distinct, else they would be one."""
    assert len(text("a", 1, 4096)) == 4096
    assert text("a", 1, 4096) != text("a", 2, 4096)


def test_a_process_uses_time_and_memory() -> None:
    """The kernel's figures of this very process are read; those of nobody are nothing."""
    me = {"me": os.getpid(), "nobody": 2**22 + 1}
    assert os.getpid() in family(os.getpid())
    assert cpu_seconds(me)["me"] > 0
    assert memory_bytes(me)["me"] > 1_000_000
    assert cpu_seconds(me)["nobody"] == memory_bytes(me)["nobody"] == 0


def test_what_was_written_is_a_difference() -> None:
    """WAL and flushes between two looks."""
    assert parsed("100|7\n").since(Written(40, 2)) == Written(60, 5)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_the_sink_takes_mails_from_our_mailer(anyio_backend: str) -> None:
    """Mail after mail over one connection, a body with the end mark's beginnings in it included."""
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    mailer = RelayMailer(
        MailSettings("127.0.0.1", server.sockets[0].getsockname()[1], "none", "notice@registered.example")
    )
    for body in (b"Subject: a\r\n\r\nhello\r\n", b"Subject: b\r\n\r\n.\r\n..\r\n" + b"x" * 100_000 + b"\r\n"):
        answer = await mailer.send("a@recipient.example", body)
        assert answer == Relayed(250, "2.0.0 Ok", None)
    await mailer.aclose()
    server.close()


def test_the_bench_runs_on_the_versions_of_the_service() -> None:
    """Its lock holds the runtime lock."""
    pinned = re.compile(r"^([a-z0-9-]+==[^ \\]+)", re.MULTILINE)
    runtime = set(pinned.findall((ROOT / "requirements.lock").read_text()))
    assert runtime <= set(pinned.findall((ROOT / "requirements-bench.lock").read_text()))
