"""What several tests of the ledger share."""

import shutil
from collections.abc import Iterator

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.db import small_ledger
from tests.db.healthy_ledger import Healthy
from tests.db.small_ledger import Letters
from tests.servers import PostgresServer, short_directory


@pytest.fixture(scope="module")
def healthy(postgres: PostgresServer) -> Iterator[Healthy]:
    database, state = postgres.clone(), short_directory()

    async def build() -> Letters:
        async with small_ledger.installation(database, state) as it:
            return await small_ledger.live(it)

    letters = anyio.run(build)
    anchor = x509.load_pem_x509_certificate((state / "ca.pem").read_bytes()).public_bytes(Encoding.DER)
    yield Healthy(postgres, database, letters, anchor)
    postgres.drop(database)
    shutil.rmtree(state)
