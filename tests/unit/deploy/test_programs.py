"""What is run, and where: the Procfile, --scale, ports, the record of what runs, log files."""

import os
import socket
from pathlib import Path

import pytest

from deploy.local import record
from deploy.local.layout import HOST, Layout, NoFreePorts, TcpPorts, free_base
from deploy.local.logs import FILE_BYTES_MAX, LINE_BYTES_MAX, LogPipe
from deploy.local.programs import (
    CATCHER,
    ProcfileInvalid,
    procfile_programs,
    read_procfile,
    read_scale,
    recipients,
    stand_ins,
)
from deploy.local.roles import OWNER, ROLES
from pipeline.delivery.routes import STAGES

COMMANDS = {"hsm_bridge": "exec bridge", "seal": "exec seal", "gateway": "exec gateway"}


def test_our_procfile_lists_every_process() -> None:
    """What `up` runs is what the Procfile lists: the bridge, the stages, the two elected ones, the gateway."""
    names = list(read_procfile())
    assert names == ["hsm_bridge", *STAGES, "events", "ops", "gateway"]


def test_every_stage_has_a_role_of_its_own() -> None:
    """The SQL of the set-up makes one role a process kind: it can do what its kind can do, and no more."""
    others = {OWNER, *(f"qerds_{kind}" for kind in ("gateway", "events", "bridge", "ops", "operate"))}
    assert set(ROLES) == others | {f"qerds_{stage}" for stage in STAGES}


def test_the_zygote_forks_what_is_ours_and_the_bridge_is_a_program_of_its_own() -> None:
    """The token's library is never in a forked process; of the bridge there is one, so nothing runs beside it."""
    programs = {p.name: p for p in procfile_programs(read_procfile(), {}, TcpPorts(9000), {})}
    assert programs["seal"].module == ("pipeline", "seal")
    assert programs["gateway"].module == ("gateway",)
    assert programs["gateway"].listen == (HOST, 9000)
    assert programs["hsm_bridge"].module == ()
    assert [name for name, p in programs.items() if not p.overlaps] == ["hsm_bridge"]


def test_nobody_waits_for_the_people_of_a_sandbox() -> None:
    """They count as ready when they are started, are no stand-in that comes before the rest, and know two addresses."""
    program = recipients(TcpPorts(9000), "http://127.0.0.1:9001/key")
    assert program.ready is not None
    assert program.ready(1) is True
    assert program.module == ("deploy.local.recipients", "http://127.0.0.1:9000")
    assert "key" not in " ".join(program.command)
    assert program.environment == {"QERDS_MAIL_URL": "http://127.0.0.1:9001/key"}
    assert not program.overlaps
    assert [p.name for p in stand_ins({})] == [CATCHER, "identity_provider"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seal: python -m pipeline seal", "expected NAME: exec"),
        ("seal: exec a\nseal: exec b", "there twice"),
        ("exec a", "expected NAME: exec"),
    ],
)
def test_a_wrong_procfile_is_refused(tmp_path: Path, text: str, says: str) -> None:
    """Without exec a signal would reach a shell instead of the process; the line is named."""
    (tmp_path / "Procfile").write_text(f"# comment\n\n{text}\n")
    with pytest.raises(ProcfileInvalid, match=says):
        read_procfile(tmp_path / "Procfile")


def test_scale_makes_numbered_processes() -> None:
    """--scale seal=2 runs two, each with a health port of its own; a count of 0 leaves a process out."""
    scale = read_scale("seal=2,hsm_bridge=0", COMMANDS)
    programs = procfile_programs(COMMANDS, scale, TcpPorts(9000), {})
    assert [p.name for p in programs] == ["seal.1", "seal.2", "gateway"]
    assert [p.environment["QERDS_HEALTH_PORT"] for p in programs] == ["9020", "9021", "9022"]


def test_the_gateway_stops_first_and_the_bridge_after_the_stages() -> None:
    """Nothing new comes in while stages drain, and the bridge is there until they have."""
    groups = {p.name: p.stop_group for p in procfile_programs(COMMANDS, {}, TcpPorts(9000), {})}
    assert groups["gateway"] < groups["seal"] < groups["hsm_bridge"]


@pytest.mark.parametrize("text", ["sael=2", "seal", "seal=-1", "seal=many", "seal=1000"])
def test_a_wrong_scale_is_refused(text: str) -> None:
    """An unknown name or no number ends in a message, not in an installation without that stage."""
    with pytest.raises(ProcfileInvalid, match="--scale"):
        read_scale(text, COMMANDS)


def test_the_next_free_base_is_taken() -> None:
    """A port in use moves the whole installation to the next base, so that the offsets stay true."""
    first = free_base(42_000)
    with socket.create_server((HOST, first.smtp)):
        assert free_base(first.base).base > first.base
    assert free_base(first.base) == first


def test_no_free_base_is_an_answer() -> None:
    """The search for ports ends."""
    with pytest.raises(NoFreePorts):
        free_base(65_000)


def test_the_lock_is_held_by_one(state_dir: Path) -> None:
    """A second `up` on the same state finds out before it touches anything."""
    layout = Layout(state_dir)
    lock = record.take_lock(layout)
    assert lock is not None
    assert record.take_lock(layout) is None
    os.close(lock)
    again = record.take_lock(layout)
    assert again is not None
    os.close(again)


def test_a_reused_process_id_is_not_ours(state_dir: Path) -> None:
    """`down` must never signal a stranger who has got the id of a dead supervisor."""
    layout = Layout(state_dir)
    record.write(layout, 9000, state_dir, processes=[record.ProcessState("seal", "ready", 1, 1)])
    running = record.read_living(layout)
    assert running is not None
    assert running.pid == os.getpid()
    assert running.is_ready
    assert not record.lives(running.pid, running.start_time + 1)
    layout.running.write_text("{}")
    assert record.read_living(layout) is None


def test_log_lines_are_whole_and_bounded(tmp_path: Path) -> None:
    """Half a line waits for its end, an endless one is cut, and what is left at the end is kept."""
    log = LogPipe("seal", tmp_path, echo=False)
    writer = log.open()
    os.write(writer, b"one\ntw")
    assert log.pump()
    os.write(writer, b"o\n" + b"x" * (LINE_BYTES_MAX + 10))
    assert log.pump()
    os.write(writer, b"rest")
    os.close(writer)
    log.drain()
    log.close()
    assert (tmp_path / "seal.log").read_text().splitlines() == ["one", "two", "x" * LINE_BYTES_MAX, "rest"]


def test_a_log_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    """A chatty process cannot fill the disk: its file is put aside once, and the older one goes."""
    path = tmp_path / "seal.log"
    with path.open("wb") as file:
        file.truncate(FILE_BYTES_MAX + 1)
    log = LogPipe("seal", tmp_path, echo=False)
    log.say("next")
    log.close()
    assert path.read_text() == "[supervisor] next\n"
    assert (tmp_path / "seal.log.1").stat().st_size > FILE_BYTES_MAX
