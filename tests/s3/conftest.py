"""One S3 server for all tests of this folder, and a bucket of its own for each."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.formats.configuration import S3
from tests.s3_server import S3Server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """On a disk, as it keeps hundreds of megabytes; the path is short, as it makes sockets."""
    home = Path(tempfile.mkdtemp(prefix="qs3-"))
    server = S3Server(home)
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def bucket(s3_server: S3Server) -> S3:
    """Empty."""
    return s3_server.make_bucket()
