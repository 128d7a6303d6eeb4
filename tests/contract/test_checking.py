"""The port Checker over real processes: it says what the verifier says, and what it cannot bear kills it only."""

import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from pipeline.adapters import checking_worker
from pipeline.adapters.checking import CheckingProcesses
from pipeline.evidence.verification import Report, Verdict, content_digests, verify
from pipeline.ports.outside import CheckTooCostly

VECTORS = Path(__file__).parents[1] / "vectors" / "evidence"
ANCHOR = (VECTORS / "ca.cer").read_bytes()
# The worker with a verifier that does what the proof says.
WORKER = f"""
import pipeline.adapters.checking_worker as worker
worker.PROCESSOR_SECONDS_MAX = 0
def verify(proof, *rest, **others):
    if proof == b"memory":
        bytearray({checking_worker.MEMORY_BYTES_MAX})
    while proof == b"time":
        pass
    if proof == b"file":
        import resource
        open("/dev/null")
        assert resource.getrlimit(resource.RLIMIT_FSIZE) == (0, 0) == resource.getrlimit(resource.RLIMIT_CORE)
    if proof == b"environment":
        import os
        assert not [name for name in os.environ if name.startswith(("QERDS", "PG", "AWS"))], os.environ
    return original(proof, *rest, **others)
original, worker.verify = worker.verify, verify
worker.main()
"""

pytestmark = pytest.mark.anyio


@pytest.fixture
async def hostile() -> AsyncIterator[CheckingProcesses]:
    checker = CheckingProcesses(1, (sys.executable, "-P", "-c", WORKER))
    yield checker
    await checker.aclose()


@pytest.fixture
async def checker() -> AsyncIterator[CheckingProcesses]:
    checker = CheckingProcesses()
    yield checker
    await checker.aclose()


async def test_it_says_what_the_verifier_says(checker: CheckingProcesses) -> None:
    """Every stored proof, several at once, with a foreign document and without; and what is no proof."""
    proofs = [path.read_bytes() for path in sorted(VECTORS.glob("*.asice"))] + [b"", b"a picture", b"PK" * 10_000]
    contents = [content_digests("a", b"a")]
    reports: dict[int, Report | CheckTooCostly] = {}

    async def check(number: int, proof: bytes) -> None:
        reports[number] = await checker.check(proof, [ANCHOR], contents[: number % 2], [])

    async with anyio.create_task_group() as tasks:
        for number, proof in enumerate(proofs):
            tasks.start_soon(check, number, proof)
    for number, proof in enumerate(proofs):
        assert reports[number] == verify(proof, [ANCHOR], contents[: number % 2], revocation_lists=[])
    assert Verdict.VALID in {report.verdict for report in reports.values() if isinstance(report, Report)}


@pytest.mark.parametrize("load", [b"memory", b"time"])
async def test_what_costs_too_much_kills_its_worker_only(hostile: CheckingProcesses, load: bytes) -> None:
    """Memory or processor time beyond the limits: a fact about the proof; the next is checked by another process."""
    assert await hostile.check(load, [], [], []) == CheckTooCostly()
    assert await hostile.check(b"a picture", [], [], []) == verify(b"a picture")


async def test_a_worker_has_nothing_of_ours(hostile: CheckingProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the environment nor the right to write a file."""
    monkeypatch.setenv("QERDS_CONFIG", "/etc/qerds.toml")
    for question in (b"environment", b"file"):
        assert await hostile.check(question, [], [], []) == verify(question)


async def test_a_worker_that_died_meanwhile_is_replaced(checker: CheckingProcesses) -> None:
    """Killed between two checks by somebody else: the next check has a new one."""
    await checker.check(b"a", [], [], [])
    [worker] = checker._idle
    os.kill(worker._process.pid, signal.SIGKILL)
    await worker._process.wait()
    assert await checker.check(b"a", [], [], []) == verify(b"a")


async def test_who_goes_away_leaves_no_worker_at_work(hostile: CheckingProcesses) -> None:
    """A check that nobody waits for any more is ended with its process."""
    with anyio.move_on_after(0.3) as scope:
        await hostile.check(b"time", [], [], [])
    assert scope.cancelled_caught
    assert hostile._idle == []
    assert await hostile.check(b"a", [], [], []) == verify(b"a")
