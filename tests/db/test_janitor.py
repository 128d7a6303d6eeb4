"""The janitor over a real database, as the only role that deletes contents: what goes, what stays, also at a crash."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

import anyio
import asyncpg
import pytest

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.garbage import PostgresGarbage
from pipeline.adapters.postgres.queries import queries
from pipeline.errors import Transient
from pipeline.formats.configuration import DatabaseSettings
from pipeline.process.recorder import Recorder
from pipeline.retention import janitor
from pipeline.retention.janitor import Round, clean
from tests.fakes.objects import MemoryObjects
from tests.servers import PostgresServer

pytestmark = pytest.mark.anyio

SENDER, DELIVERY = UUID(int=1), UUID(int=2)


@dataclass
class Store:
    """A database and an object store, and how to plant in both."""

    server: PostgresServer
    config: DatabaseSettings
    objects: MemoryObjects
    garbage: PostgresGarbage

    def psql(self, sql: str) -> str:
        return self.server.psql(sql, self.config.name)

    def upload(self, *, over_hours: int, used: bool = False, objects: int = 1, pack: str | None = None) -> list[str]:
        """An upload that is over since so many hours (negative: not yet); the objects it is in."""
        upload = uuid4()
        self.psql(
            "INSERT INTO qerds.upload (id, sender, file_name, content_type, bytes, sha256, sha3_256, expires_at) "
            f"VALUES ('{upload}', '{SENDER}', 'f', 'text/plain', {objects}, sha256(''), sha256(''), "
            f"clock_timestamp() - interval '{over_hours} h');"
            "INSERT INTO qerds.upload_wrap (upload, key_id, context, wrapped, sha3_256, open_until) "
            f"VALUES ('{upload}', 'kek', '', '', sha256(''), now())"
        )
        names = [pack] if pack is not None else [uuid4().hex for _ in range(objects)]
        for number, name in enumerate(names, start=1):
            self.psql(
                "INSERT INTO qerds.upload_segment (upload, segment, object, content_format, bytes, intake_key_id, "
                f"sealed_key, object_offset, object_bytes) VALUES ('{upload}', {number}, '{name}', 'f', 1, 'intake-1', "
                f"'', (SELECT count(*) FROM qerds.upload_segment WHERE object = '{name}'), 1)"
            )
            self.objects.objects[name] = b"x"
        if used:
            self.psql(
                "INSERT INTO qerds.delivery_document (delivery, part, upload, file_name, sha256) VALUES "
                f"('{DELIVERY}', (SELECT count(*) + 1 FROM qerds.delivery_document), '{upload}', 'f', sha256(''))"
            )
        return names

    def pack(self, *, old_hours: int) -> str:
        name = uuid4().hex
        self.psql(
            "INSERT INTO qerds.pack (object, intake_key_id, sealed_key, bytes, created_at) "
            f"VALUES ('{name}', 'intake-1', '', 1, clock_timestamp() - interval '{old_hours} h')"
        )
        self.objects.objects[name] = b"pack"
        return name

    def stray(self) -> str:
        """An object of a writer that died before its row."""
        self.objects.objects[name := uuid4().hex] = b"stray"
        return name

    def count(self, table: str) -> int:
        return int(self.psql(f"SELECT count(*) FROM qerds.{table}"))

    async def clean(self, *, listing: bool = False) -> Round:
        """From the beginning; what was removed, without how far it went."""
        done = await clean(self.garbage, self.objects, listing=listing)
        return replace(done, reached=janitor.BEGINNING)


@pytest.fixture
async def store(postgres: PostgresServer, database: DatabaseSettings) -> AsyncIterator[Store]:
    connections = Database(database.dsn("qerds_archive"), connections_max=1)
    made = Store(postgres, database, MemoryObjects(), PostgresGarbage(connections))
    made.psql(
        "INSERT INTO qerds.published_key (key_id, use, spki, not_before, until) VALUES "
        "('intake-1', 'intake', '', now(), now());"
        "INSERT INTO qerds.sender (id, name, email, identity_level, identity_method, identified_at) "
        f"VALUES ('{SENDER}', 'n', 'e', 'high', 'video', now());"
        "INSERT INTO qerds.delivery (id, number, sender, request_sha256, lane, mode, config_version, recipient_kind, "
        "recipient_email, given_names, birth_name, language, subject, submitted_at) VALUES "
        f"('{DELIVERY}', '12345678901234', '{SENDER}', sha256(''), 0, 'm', 'c', 'professional', 'e', 'g', 'b', 'fr', "
        "'s', now())"
    )
    yield made
    await connections.close()


async def test_an_upload_that_nobody_used_goes_a_day_after_its_time(store: Store) -> None:
    """With all its objects, segments and its wrap; what is younger, or used, stays whatever its age."""
    gone = store.upload(over_hours=25, objects=2)
    kept = [
        *store.upload(over_hours=23),
        *store.upload(over_hours=-1),
        *store.upload(over_hours=10_000, used=True, objects=2),
    ]
    assert await store.clean() == Round(uploads=1, packs=0, objects=2)
    assert sorted(store.objects.objects) == sorted(kept)
    assert not set(gone) & set(store.objects.objects)
    assert (store.count("upload"), store.count("upload_segment"), store.count("upload_wrap")) == (3, 4, 3)
    assert await store.clean() == Round(0, 0, 0)


async def test_a_pack_goes_with_the_last_of_its_contents(store: Store) -> None:
    """One content that a letter uses keeps the whole object; so does one whose time is not over."""
    used, waiting, unused, young = (store.pack(old_hours=hours) for hours in (800, 800, 800, 1))
    store.upload(over_hours=30, used=True, pack=used)
    store.upload(over_hours=30, pack=used)
    store.upload(over_hours=30, pack=waiting)
    store.upload(over_hours=-1, pack=waiting)
    store.upload(over_hours=30, pack=unused)
    store.upload(over_hours=30, pack=unused)
    assert await store.clean() == Round(uploads=4, packs=1, objects=1)
    assert sorted(store.objects.objects) == sorted([used, waiting, young])
    assert store.count("pack") == 3


async def test_an_object_without_a_row_goes(store: Store) -> None:
    """What a writer left that died before its row; not what any row names, and nothing without a listing."""
    kept = [*store.upload(over_hours=-1), store.pack(old_hours=1)]
    store.psql(
        "INSERT INTO qerds.snapshot (delivery, snapshot, object, bytes, sha256, sequence_through) "
        f"VALUES ('{DELIVERY}', 1, '{(snapshot := store.stray())}', 1, sha256(''), 1)"
    )
    stray = store.stray()
    assert await store.clean() == Round(0, 0, 0)
    assert await store.clean(listing=True) == Round(0, 0, 0, strays=1)
    assert stray not in store.objects.objects
    assert sorted(store.objects.objects) == sorted([*kept, snapshot])


async def test_what_is_on_its_way_to_its_row_stays(store: Store) -> None:
    """An object that was put a moment ago is somebody's."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"

    await store.objects.put(name := uuid4().hex, chunks())
    assert (await store.clean(listing=True)).strays == 0
    assert name in store.objects.objects


async def test_a_store_that_the_database_does_not_know_is_left_alone(store: Store) -> None:
    """Another installation's store, or a database restored from before: nothing goes, and it is told."""
    for _ in range(janitor.STRAYS_FEW + 1):
        store.stray()
    done = await store.clean(listing=True)
    assert (done.strays, done.refused) == (0, janitor.STRAYS_FEW + 1)
    assert len(store.objects.objects) == janitor.STRAYS_FEW + 1


async def test_a_crash_between_rows_and_objects_is_repaired(store: Store) -> None:
    """The store goes away after the rows went: the objects are found by the next listing."""
    store.upload(over_hours=25, objects=2)
    store.objects.down = True
    with pytest.raises(Transient):
        await store.clean()
    store.objects.down = False
    assert store.count("upload") == 0 and len(store.objects.objects) == 2
    assert await store.clean(listing=True) == Round(0, 0, 0, strays=2)
    assert store.objects.objects == {}


async def test_two_janitors_at_once_remove_each_thing_once(store: Store) -> None:
    """Any number of `archive` processes may clean."""
    for _ in range(5):
        store.upload(over_hours=25)
    other = Database(store.config.dsn("qerds_archive"), connections_max=1)
    rounds: list[Round] = []

    async def one(garbage: PostgresGarbage) -> None:
        rounds.append(await clean(garbage, store.objects, listing=False))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one, store.garbage)
        tasks.start_soon(one, PostgresGarbage(other))
    await other.close()
    assert sum(done.uploads for done in rounds) == 5
    assert store.objects.objects == {}


async def test_a_backlog_goes_in_batches(store: Store) -> None:
    """However much there is, a statement looks at a bounded number, and a round at a bounded number of pages; the next
    one goes on where it ended, so that what is in use for ever is not looked at for ever."""
    for hours in range(31, 25, -1):
        store.upload(over_hours=hours, used=hours % 2 == 0)
    after, uploads = janitor.BEGINNING, []
    for _ in range(3):
        done = await clean(store.garbage, store.objects, listing=False, after=after, batch_max=2, batches_max=2)
        after = done.reached
        uploads.append(done.uploads)
    assert uploads == [2, 1, 0]
    page = await store.garbage.drop_uploads(after, 0.0, 10)
    assert (page.examined, page.last) == (0, after)


async def test_a_letter_that_begins_to_use_an_upload_wins(store: Store) -> None:
    """The foreign key decides between the janitor and a submission under way: the upload stays, the round ends."""
    store.upload(over_hours=25)
    owner = await asyncpg.connect(
        host=str(store.config.socket_dir),
        port=store.config.port,
        database=store.config.name,
        user="qerds_gateway",
        password=store.config.password("qerds_gateway"),
    )
    try:
        submitting = owner.transaction()
        await submitting.start()
        await owner.execute(
            "INSERT INTO qerds.delivery_document (delivery, part, upload, file_name, sha256) "
            "SELECT $1, 1, u.id, 'f', sha256('') FROM qerds.upload u",
            DELIVERY,
        )
        failed: list[Transient] = []

        async def cleaning() -> None:
            try:
                await store.clean()
            except Transient as error:
                failed.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cleaning)
            while "1" not in store.psql("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await anyio.lowlevel.checkpoint()
            await submitting.commit()
        assert len(failed) == 1 and store.count("upload") == 1
    finally:
        await owner.close()


async def test_the_rounds_go_on_after_trouble(store: Store) -> None:
    """A store that is away ends a round, not the janitor; both are in the log."""
    log: list[str] = []
    store.upload(over_hours=25)
    store.objects.down = True
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(janitor.keep_clean, store.garbage, store.objects, Recorder("archive", log.append))
        while not log:
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert "cleaning" in log[0]


def test_every_table_that_names_objects_is_asked(postgres: PostgresServer, database: DatabaseSettings) -> None:
    """A table forgotten here would lose its objects: compared with the schema, and allowed to be read."""
    tables = postgres.psql(
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'qerds' AND column_name = 'object' "
        "ORDER BY 1",
        database.name,
    ).split()
    asked = set(re.findall(r"FROM qerds\.(\w+)", queries()["unnamed_objects"]))
    assert asked == set(tables)


async def test_nobody_else_deletes(database: DatabaseSettings) -> None:
    """The gateway can give an upload up; only `archive` removes one, and it reads no sealed key."""
    for role, sql in (
        ("qerds_gateway", "DELETE FROM qerds.upload"),
        ("qerds_gateway", "UPDATE qerds.upload SET sha256 = ''"),
        ("qerds_gateway", "SELECT sealed_key FROM qerds.pack"),
        ("qerds_gateway", "SELECT wrapped FROM qerds.upload_wrap"),
        ("qerds_encrypt", "DELETE FROM qerds.upload_segment"),
        ("qerds_encrypt", "UPDATE qerds.upload_wrap SET open_until = now()"),
        ("qerds_archive", "SELECT sealed_key FROM qerds.upload_segment"),
        ("qerds_archive", "SELECT sealed_key FROM qerds.pack"),
        ("qerds_archive", "SELECT wrapped FROM qerds.upload_wrap"),
        ("qerds_archive", "DELETE FROM qerds.delivery_document"),
        ("qerds_ingest", "INSERT INTO qerds.upload_wrap DEFAULT VALUES"),
    ):
        connection = await asyncpg.connect(
            host=str(database.socket_dir),
            port=database.port,
            database=database.name,
            user=role,
            password=database.password(role),
        )
        try:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(sql)
        finally:
            await connection.close()
