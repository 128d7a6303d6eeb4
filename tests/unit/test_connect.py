"""Which store stands behind the port, and what a start makes of it."""

from pathlib import Path
from typing import Any, cast

import pytest

from pipeline.__main__ import STAGES, Actor
from pipeline.adapters.objects import LocalObjects
from pipeline.adapters.objects_s3 import S3Objects
from pipeline.connect import STORING, Adapters, Settings, verify_objects
from pipeline.formats.checked_table import ConfigInvalid
from pipeline.formats.configuration import S3
from pipeline.process.recorder import Recorder
from tests.s3_server import WRITER, free_ports, write_key


def test_the_stages_that_have_the_store_verify_it() -> None:
    """Whoever has it among its ports; the others have no key."""
    assert {row.name for row in STAGES if isinstance(row, Actor) and "objects" in taken(row)} == STORING


def taken(row: Actor[Any, Any]) -> set[str]:
    """What the stage's ports are made of, by the names that connect has for them."""
    offer = Offer()
    row.ports(cast(Adapters, offer), cast(Settings, Offer()))
    return offer.names


class Offer:
    """Has whatever is asked for, and remembers its name."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getattr__(self, name: str) -> object:
        self.names.add(name)
        return self


def s3(key_dir: Path) -> S3:
    """An address at which nobody listens."""
    return S3(f"http://127.0.0.1:{free_ports(1)[0]}", "letters", "us-east-1", key_dir)


@pytest.mark.anyio
async def test_a_store_that_is_away_keeps_nobody_from_starting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is noted, and the work will wait; a folder is not asked."""
    write_key(tmp_path / "archive", *WRITER)
    recorder = Recorder("archive")
    await verify_objects(S3Objects(s3(tmp_path), "archive"), recorder)
    assert '"where": "object store", "type": "Transient"' in "".join(capsys.readouterr())
    await verify_objects(LocalObjects(tmp_path / "absent"), recorder)
    assert "".join(capsys.readouterr()) == ""


@pytest.mark.anyio
async def test_a_process_without_a_key_does_not_start(tmp_path: Path) -> None:
    """Named with its file, before anything is asked of the store."""
    with pytest.raises(ConfigInvalid, match=r"cannot read the secret .*archive"):
        await verify_objects(S3Objects(s3(tmp_path), "archive"), Recorder("archive"))
