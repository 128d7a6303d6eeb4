"""A whole installation that keeps its objects in a bucket."""

import json

import anyio
import pytest

from pipeline.adapters.objects_s3 import S3Objects
from pipeline.formats.configuration import S3
from tests.contract.objects_cases import listed
from tests.e2e.installation import installation, send_many, states
from tests.s3_server import PROCESS, WRITER, write_key
from tests.servers import short_directory

pytestmark = pytest.mark.timeout(180)

BASE_PORT = 19_400
LETTERS = 3


def test_letters_by_way_of_a_bucket(bucket: S3) -> None:
    """From the upload to the archived proofs: every object is in the bucket, none in the folder; only three processes
    have a key."""
    state = short_directory() / "state"
    keys = state.with_name("keys")
    for folder in (state, keys):
        folder.mkdir(mode=0o711)
    for process in ("gateway", "encrypt", "archive"):
        write_key(keys / process, *WRITER)
    section = {"endpoint": bucket.endpoint, "bucket": bucket.bucket, "region": bucket.region, "key_dir": str(keys)}
    lines = [f"{name} = {json.dumps(value)}" for name, value in section.items()]
    (state / "options.toml").write_text(
        "\n".join(["[token]", "sessions = 2", "[objects]", 'kind = "s3"', "[objects.s3]", *lines, ""])
    )
    with installation(state, BASE_PORT) as it:
        send_many(it, LETTERS, "bucket")
        it.wait("all to be notified", lambda: states(it) == {"notified": LETTERS})
        it.advance("P16D")  # nobody claims them, and what ends is archived
        it.wait("the packages", lambda: it.count("SELECT count(DISTINCT delivery) FROM qerds.snapshot") == LETTERS)
        named = {
            row[0] for row in it.rows("SELECT object FROM qerds.upload_segment UNION SELECT object FROM qerds.snapshot")
        }
        assert named <= set(anyio.run(listed, S3Objects(bucket, PROCESS)))
        assert not [path for path in it.layout.objects.rglob("*") if path.is_file()]
        it.check_ledger()
