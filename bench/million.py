"""Scenario million: one batch, one content, a million letters through the real stages; counted, sampled, verified.

Owns     the push as a sender does it, the wait, what has to add up, packages and the batch's proof verified offline
Rules    a count that does not add up or a proof that does not verify breaks the scenario; it is no figure
         lines are made and sent part by part: the sender's memory does not grow with the batch
"""

import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import anyio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bench.context import Bench
from bench.feeding import AT_ONCE, PART_LINES, Feeder, feeder, items, open_batch, put_items, submit_batch, text
from bench.installation import Installation, Usage
from bench.processes import memory_bytes
from bench.results import Plot, Section, Table
from deploy.local.layout import CHECKOUT
from pipeline.client.api import QerdsClient
from pipeline.evidence.verification.protocol import verify
from pipeline.evidence.verification.report import Verdict

LETTERS = (20_000, 1_000_000)  # quick, full
SAMPLED = 200  # letters whose packages are verified
LOOK_SECONDS = 10.0
SHARED_BYTES = 2048
SECONDS_A_LETTER_MAX = 0.02  # a machine that needs more has stopped
PACKAGE_SECONDS = 120.0
STAND_INS = frozenset({"smtp_sink", "identity_provider"})
MEBIBYTE = 2**20
EVENTS = ["A.1", "C.1"]
STAMPED = "SELECT count(*) FROM qerds.evidence_token"
COUNTS = {
    "letters by state": "SELECT state, count(*) FROM qerds.delivery WHERE batch = $1 GROUP BY state",
    "evidence by event": """SELECT e.event, count(*) FROM qerds.evidence e JOIN qerds.delivery d ON d.id = e.delivery
                            WHERE d.batch = $1 GROUP BY e.event""",
    "tokens by event": """SELECT e.event, count(*) FROM qerds.evidence e JOIN qerds.delivery d ON d.id = e.delivery
                          JOIN qerds.evidence_token t ON t.evidence = e.evidence WHERE d.batch = $1 GROUP BY e.event""",
    "notices": """SELECT 'sent', count(*) FROM qerds.notice n JOIN qerds.delivery d ON d.id = n.delivery
                  WHERE d.batch = $1""",
    "messages by place": "SELECT place, count(*) FROM outbox.message WHERE $1::uuid IS NOT NULL GROUP BY place",
}


class NotRight(Exception):
    """Something does not add up, or a proof does not verify."""


@dataclass(frozen=True, slots=True)
class PushSample:
    """One look, seconds after the push began."""

    at: float
    tokens: int
    memory_bytes: int


def run(bench: Bench) -> Section:
    """On the shared installation, which nothing else uses meanwhile."""
    count = bench.letters or bench.pick(*LETTERS)
    section = Section("million", f"{count:,} letters in one batch, one content, real stages")
    anyio.run(_run, bench, section, count, backend_options={"use_uvloop": True})
    return section


async def _run(bench: Bench, section: Section, count: int) -> None:
    it = bench.installation()
    async with feeder(it) as feed:
        before, tokens = await it.usage(feed.database), await feed.database.fetchval(STAMPED)
        began = time.monotonic()
        batch = await _push(bench, feed, count)
        pushed = time.monotonic() - began
        samples = await _wait(bench, feed, batch, count, tokens, began)
        await anyio.sleep(1.2)  # backends tell their statistics once a second
        used = (await it.usage(feed.database)).since(before)
        _tell(section, count, pushed, samples, used)
        bench.say("counting")
        section.tables.append(await _counted(feed, batch, count))
    bench.say("the results of every line")
    began = time.monotonic()
    letters = await _results(it, batch, count)
    section.figure("results of all lines, streamed by the typed client", time.monotonic() - began, "s")
    section.figure("packages verified offline", await _verified(bench, it, batch, letters), "packages")
    section.figure("ledger check", await _ledger(bench, it), "s", "every predicate, every seal, every token")


async def _push(bench: Bench, feed: Feeder, count: int) -> str:
    """The batch's id; submitted."""
    document = await feed.sender.upload(text("million", 0, SHARED_BYTES), "letter.txt")
    batch = await open_batch(feed.sender, "million")
    digests = []
    for number, first in enumerate(range(0, count, PART_LINES), start=1):
        part = items("million", [document] * min(PART_LINES, count - first), first)
        digests += await put_items(feed.sender, batch, part, number)
        bench.say(f"{min(first + PART_LINES, count):,} of {count:,} lines pushed")
    await submit_batch(feed.sender, batch, digests, count)
    return batch


async def _wait(bench: Bench, feed: Feeder, batch: str, count: int, tokens: int, began: float) -> list[PushSample]:
    """Until both tokens of every letter are there and the batch is completed."""
    samples: list[PushSample] = []
    with anyio.fail_after(120 + count * SECONDS_A_LETTER_MAX):
        while True:
            stamped = await feed.database.fetchval(STAMPED) - tokens
            memory = await anyio.to_thread.run_sync(memory_bytes, feed.installation.pids())
            samples.append(PushSample(time.monotonic() - began, stamped, sum(memory.values())))
            bench.say(f"{stamped // 2:,} of {count:,} letters, by their tokens, after {samples[-1].at:,.0f} s")
            state = await feed.database.fetchval("SELECT state FROM qerds.batch WHERE id = $1::uuid", batch)
            if stamped >= 2 * count and state == "completed":
                return samples
            await anyio.sleep(LOOK_SECONDS)


def _tell(section: Section, count: int, pushed: float, samples: Sequence[PushSample], used: Usage) -> None:
    """Time and cost."""
    seconds = samples[-1].at
    section.measures["million.rate"] = count / seconds
    section.figure("all letters pushed and submitted after", pushed, "s")
    section.figure("all tokens there after", seconds, "s")
    section.figure("letters a second, push included", count / seconds, "/s")
    own = {name: cpu for name, cpu in used.cpu.items() if name not in STAND_INS}
    section.figure("CPU of a letter, without the stand-ins", sum(own.values()) / count * 1000, "ms")
    section.figure("WAL of a letter", used.written.wal_bytes / count, "B")
    section.figure("flushes of PostgreSQL a letter", used.written.fsyncs / count, "")
    section.figure("requests to the bridge a letter", sum(used.requests.values()) / count, "")
    rows = [[name, f"{cpu:,.0f} s", f"{cpu / count * 1000:.2f} ms"] for name, cpu in sorted(used.cpu.items())]
    section.tables.append(Table("CPU by process", ["process", "in all", "a letter"], rows))
    steps = list(pairwise(samples))
    rates = [(b.tokens - a.tokens) / 2 / (b.at - a.at) for a, b in steps]
    ats = [round(b.at) for _, b in steps]
    section.plots.append(Plot("Letters a second, by two tokens each", "lines", "letters/s", ats, {"rate": rates}, "s"))
    memory = [b.memory_bytes / MEBIBYTE for _, b in steps]
    section.plots.append(Plot("Memory of all processes", "lines", "MiB", ats, {"memory": memory}, "s"))


async def _counted(feed: Feeder, batch: str, count: int) -> Table:
    """What has to add up, and does. Raises NotRight."""
    counts = {title: dict(await feed.database.fetch(sql, batch)) for title, sql in COUNTS.items()}
    both = dict.fromkeys(EVENTS, count)
    right = {"letters by state": {"notified": count}, "evidence by event": both, "tokens by event": both}
    right |= {"notices": {"sent": count}, "messages by place": {"legal_timer": count}}
    for title, expected in right.items():
        if counts[title] != expected:
            raise NotRight(f"{title}: {counts[title]}, not {expected}")
    rows = [[title, ", ".join(f"{n:,} {name}" for name, n in sorted(by.items()))] for title, by in counts.items()]
    return Table("Counts", ["what", "found"], rows)


async def _results(it: Installation, batch: str, count: int) -> dict[int, str]:
    """The letter of every line: each line once, accepted, with a letter of its own. Raises NotRight."""
    by_status: Counter[str] = Counter()
    letters: dict[int, str] = {}
    rest = b""
    async with _client(it) as client:
        async for piece in client.batch_results(batch):
            *whole, rest = (rest + piece).split(b"\n")
            for row in map(json.loads, whole):
                by_status[row["status"]] += 1
                letters[row["line"]] = row["delivery_id"]
    lines, named = len(letters), len(set(letters.values()))
    if by_status != {"accepted": count} or (lines, named) != (count, count):
        raise NotRight(f"results: {dict(by_status)}, {lines} lines, {named} letters")
    return letters


async def _verified(bench: Bench, it: Installation, batch: str, letters: Mapping[int, str]) -> int:
    """Packages of some letters and the batch's proof, as anybody verifies them offline. Raises NotRight."""
    count = len(letters)
    chosen = random.Random(count).sample(sorted(letters), min(SAMPLED, count))
    anchor = x509.load_pem_x509_certificate(it.layout.ca_certificate.read_bytes()).public_bytes(Encoding.DER)
    async with _client(it) as client:
        proof = await client.batch_proof(batch, PACKAGE_SECONDS)
        verification = verify(proof.content, (anchor,))
        if verification.verdict is not Verdict.VALID or getattr(verification.facts, "deposited", None) != count:
            raise NotRight(f"the proof of the batch: {verification}")
        limit = anyio.CapacityLimiter(AT_ONCE)

        async def look(line: int) -> None:
            async with limit:
                package = await client.package(letters[line], None, PACKAGE_SECONDS)
            verification = verify(package.content, (anchor,))
            events = [event.code for event in getattr(verification.facts, "events", ())]
            if verification.verdict is not Verdict.VALID or events != EVENTS:
                raise NotRight(f"the package of {letters[line]}: {verification}")

        bench.say(f"verifying {len(chosen)} packages")
        async with anyio.create_task_group() as tasks:
            for line in chosen:
                tasks.start_soon(look, line)
    return len(chosen)


async def _ledger(bench: Bench, it: Installation) -> float:
    """Seconds of `qerds ledger check`. Raises NotRight."""
    bench.say("ledger check")
    began = time.monotonic()
    environment = {**os.environ, "QERDS_CONFIG": str(it.layout.config), "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-P", "-m", "pipeline.operate", "ledger", "check"]
    result = await anyio.run_process(command, cwd=CHECKOUT, env=environment, check=False)
    if result.returncode != 0:
        raise NotRight(f"ledger check: {(result.stdout + result.stderr).decode()[-2000:]}")
    return time.monotonic() - began


def _client(it: Installation) -> QerdsClient:
    client = it.client
    return QerdsClient(client["base_url"], client["client_id"], client["client_secret"])
