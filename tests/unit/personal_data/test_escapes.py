"""What nobody caught, in a process of its own: Python's hooks and libraries' logs write no text."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.children import child_environment
from tests.personal_data import PERSON, found_in

ROOT = Path(__file__).resolve().parents[3]
HEAD = f"""
import asyncio, logging, sys, threading
from pipeline.process import escapes
from pipeline.process.recorder import Recorder
escapes.watch(Recorder("test"))
PERSON = {PERSON!r}

def fail(*_: object) -> None:
    try:
        raise ValueError(PERSON)
    except ValueError as error:
        raise KeyError(PERSON) from error
"""
THREAD = "thread = threading.Thread(target=fail); thread.start(); thread.join()"
DESTRUCTOR = "one = type('One', (), {'__del__': fail})(); del one"
LOGGED = """
log = logging.getLogger("uvicorn.error")
log.warning("refused %s", PERSON)
try:
    fail()
except KeyError:
    log.exception(f"Exception in ASGI application for {PERSON}")
"""
LOOP = """
async def main() -> None:
    task = asyncio.create_task(asyncio.sleep(0))
    asyncio.get_running_loop().call_exception_handler({"message": PERSON, "exception": KeyError(PERSON), "task": task})
    asyncio.get_running_loop().call_soon(fail)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
asyncio.run(main())
"""


def lines_of(code: str, status: int) -> list[dict[str, object]]:
    """What such a process wrote; every line of it is one of ours."""
    done = subprocess.run(
        [sys.executable, "-c", HEAD + code],
        cwd=ROOT,
        env=child_environment({"PYTHONPATH": str(ROOT)}),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert found_in(done.stdout + done.stderr) == []
    return [json.loads(line) for line in done.stderr.splitlines()]


@pytest.mark.parametrize(
    ("code", "status", "where"), [("fail()", 1, "uncaught"), (THREAD, 0, "thread"), (DESTRUCTOR, 0, "unraisable")]
)
def test_an_exception_that_nobody_caught_is_a_line(code: str, status: int, where: str) -> None:
    """With type, place and what is behind it; the exit status is Python's own."""
    [line] = lines_of(code, status)
    assert (line["what"], line["where"], line["type"], line["text"]) == ("error", where, "KeyError", "")
    assert str(line["behind"]).startswith("['ValueError at <string>:")


def test_what_a_library_logs_is_a_line_without_its_words() -> None:
    """The logger, its level and the place, and the exception that it was about."""
    first, second, third = lines_of(LOGGED, 0)
    assert [(one["what"], one["logger"], one["level"]) for one in (first, second)] == [
        ("library", "uvicorn.error", "WARNING"),
        ("library", "uvicorn.error", "ERROR"),
    ]
    assert (third["where"], third["type"]) == ("uvicorn.error", "KeyError")


def test_what_the_event_loop_complains_of_is_a_line_without_its_words() -> None:
    """A task that nobody waited for, a callback that raised: asyncio formats both with all they hold."""
    told = lines_of(LOOP, 0)
    assert [one["logger"] for one in told if one["what"] == "library"] == ["asyncio", "asyncio"]
    assert [one["type"] for one in told if one["what"] == "error"] == ["KeyError", "KeyError"]
