"""encrypt at scale: one content for many letters, contents in parts and in packs. Read once, wrapped for each."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from pipeline.delivery.facts import ContentWrap, UploadWrap
from pipeline.deposits.examination import unread
from pipeline.deposits.read_back import read_back
from pipeline.deposits.wrapping import WRAP_OPEN_DAYS
from pipeline.evidence.form.reading import read
from pipeline.formats.context import parse_content_context, parse_wrap_context
from pipeline.ports.bridge import wire
from tests.fakes.bridge import decision_item
from tests.stages.contents import in_a_pack, in_parts, letter, watched
from tests.stages.line import Line

pytestmark = pytest.mark.anyio


async def released(line: Line, delivery: UUID) -> bytes:
    """The keys that the addressee gets."""
    wrap = line.database.tables.find(ContentWrap, delivery)
    assert wrap is not None
    documents = [part[0] for part in parse_wrap_context(wrap.context).parts]
    ticket, gateway = line.bridge.ticket(delivery, documents), line.bridge.bridge("gateway")
    [receipt] = await gateway.ask([decision_item(ticket, delivery, "accept")])
    assert isinstance(receipt, wire.Decided)
    [answer] = await gateway.ask([wire.Release(wrap.wrapped, wrap.key_id, wrap.context, ticket, receipt.receipt)])
    assert isinstance(answer, wire.Released), answer
    return answer.keys


async def test_fifty_letters_of_one_content_read_it_once() -> None:
    """One batch: one key opened, one reading, one content wrap, fifty wraps that are not each other's."""
    line = Line()
    bridge, objects = watched(line)
    upload = in_parts(line, b"To all our customers.")
    deliveries = [await letter(line, upload) for _ in range(50)]
    await line.run("ingest")
    assert len(await line.turn("encrypt")) == 50
    assert bridge.asked == {"open_intake": 1, "wrap_content": 1, "derive_wrap": 50}
    assert objects.read_names.total() == 1
    assert all(line.events(d) == ["A.1"] for d in deliveries)
    wraps = [line.database.tables.find(ContentWrap, d) for d in deliveries]
    assert len({w.wrapped for w in wraps if w is not None}) == 50
    assert len({await released(line, d) for d in deliveries[:3]}) == 1


async def test_a_later_letter_of_a_content_reads_nothing() -> None:
    """The content's wrap is stored with the first deposit; what comes later starts from it."""
    line = Line()
    bridge, objects = watched(line)
    upload = in_parts(line, b"To all our customers.")
    first = await letter(line, upload)
    await line.run("ingest", "encrypt")
    kept = line.database.tables.find(UploadWrap, upload.upload)
    assert kept is not None
    about = parse_content_context(kept.context)
    assert about.part == (upload.part(1).sha256, upload.part(1).second_digest, len(upload.content))
    assert about.open_until == kept.open_until
    assert (
        timedelta(0)
        <= upload.segments[0].uploaded_at + timedelta(days=WRAP_OPEN_DAYS) - kept.open_until
        < timedelta(seconds=1)
    )
    bridge.asked.clear()
    objects.read_names.clear()
    line.objects.objects.clear()
    later = await letter(line, upload)
    await line.run("ingest", "encrypt")
    assert (line.events(first), line.events(later)) == (["A.1"], ["A.1"])
    assert bridge.asked == {"derive_wrap": 1} and not objects.read_names
    assert await released(line, first) == await released(line, later)


async def test_a_content_that_is_closed_makes_no_letter_and_no_rejection() -> None:
    """After its last day the bridge says no: a person has to look, the sender is not told that the content is wrong."""
    line = Line()
    bridge, _ = watched(line)
    delivery = await letter(line, in_parts(line, b"content"))
    bridge.deny["derive_wrap"] = "content_closed"
    await line.run("ingest", "encrypt")
    assert (line.events(delivery), line.dead()) == ([], ["wrap denied: content_closed"])
    assert line.database.tables.find(UploadWrap, delivery) is None


async def test_a_wrap_that_the_bridge_refuses_rejects_no_letter() -> None:
    """No key to wrap with is our fault."""
    line = Line()
    bridge, _ = watched(line)
    delivery = await letter(line, in_parts(line, b"content"))
    bridge.deny["wrap_content"] = "key_unknown"
    await line.run("ingest", "encrypt")
    assert (line.events(delivery), line.dead()) == ([], ["wrap denied: key_unknown"])


async def test_no_wrap_of_a_content_that_nobody_deposits() -> None:
    """A letter that is rejected for its other document leaves no wrap behind."""
    line = Line()
    good, bad = in_parts(line, b"good"), replace(in_parts(line, b"bad"), content_type="application/pdf")
    delivery = await letter(line, good, bad)
    await line.run("ingest", "encrypt")
    assert line.events(delivery) == ["A.2"]
    assert b"Document 2" in line.last(delivery).canonical
    assert line.database.tables.find(UploadWrap, good.upload) is None


async def test_of_letters_of_one_upload_each_is_judged_by_its_own_word() -> None:
    """A sender who names another digest is refused; who names the right one is not."""
    line = Line()
    _, objects = watched(line)
    upload = in_parts(line, b"content")
    right, wrong = await letter(line, upload), await letter(line, upload, declared=bytes(32))
    await line.run("ingest", "encrypt")
    assert (line.events(right), line.events(wrong)) == (["A.1"], ["A.2"])
    assert objects.read_names.total() == 1


async def test_an_upload_in_parts_is_one_content() -> None:
    """Read in order; the second digest, which nobody knew, is in the evidence and in the context."""
    line = Line()
    upload = in_parts(line, b"first piece, ", b"second piece, ", b"third")
    delivery = await letter(line, upload)
    await line.run("ingest", "encrypt")
    assert line.events(delivery) == ["A.1"]
    second = hashlib.sha3_256(upload.content).digest()
    assert read(line.last(delivery).canonical).parts[0].sha3_256 == second
    wrap = line.database.tables.find(ContentWrap, delivery)
    assert wrap is not None
    assert parse_wrap_context(wrap.context).parts[0][1] == second
    assert len(await released(line, delivery)) == 3 * 32
    dossiers = await line.facts.dossiers([delivery])
    assert dossiers[delivery].parts[0].sha3_256 == second


async def test_parts_that_are_not_the_file_that_was_announced() -> None:
    """Each part was what its own request said; together they are another file: rejected, no second digest is told."""
    line = Line()
    upload = in_parts(line, b"first ", b"second")
    swapped = replace(upload, segments=tuple(reversed(upload.segments)))
    delivery = await letter(line, swapped)
    await line.run("ingest", "encrypt")
    assert line.events(delivery) == ["A.2"]
    assert b"digest_mismatch" in line.last(delivery).canonical
    assert read(line.last(delivery).canonical).parts[0].sha3_256 is None


async def test_a_pack_is_opened_once_for_all_its_contents() -> None:
    """Fifty letters, each with its own content, one key at the bridge; each opens to its own key."""
    line = Line()
    bridge, objects = watched(line)
    uploads = in_a_pack(line, *(f"Dear customer {n}".encode() for n in range(50)))
    deliveries = [await letter(line, upload) for upload in uploads]
    await line.run("ingest", "encrypt")
    assert all(line.events(d) == ["A.1"] for d in deliveries)
    assert bridge.asked == {"open_intake": 1, "wrap_content": 50, "derive_wrap": 50}
    assert len(objects.read_names) == 1
    assert len({await released(line, d) for d in deliveries}) == 50


SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "altered": lambda pack: pack[:50] + bytes([pack[50] ^ 1]) + pack[51:],
    "cut": lambda pack: pack[:60],
    "moved": lambda pack: b"x" + pack,
}


@pytest.mark.parametrize("how", SPOILED)
async def test_a_spoiled_content_in_a_pack_is_rejected(how: str) -> None:
    """A range that does not authenticate is no letter's content."""
    line = Line()
    first, _ = in_a_pack(line, b"first content", b"second content")
    name = first.segments[0].object
    line.objects.objects[name] = SPOILED[how](line.objects.objects[name])
    delivery = await letter(line, first)
    await line.run("ingest", "encrypt")
    assert line.events(delivery) == ["A.2"]
    assert b"digest_mismatch" in line.last(delivery).canonical


async def test_a_content_s_key_in_a_pack_opens_at_its_own_place_only() -> None:
    """Two letters of one pack whose rows were exchanged: neither opens, whoever exchanged them."""
    line = Line()
    first, second = in_a_pack(line, b"same length", b"some length")
    own, other = first.segments[0], second.segments[0]
    at_the_other = replace(own, object_offset=other.object_offset, object_bytes=other.object_bytes)
    with_the_other_s_key = replace(own, sealed_key=other.sealed_key)
    another_pack = replace(own, pack=in_a_pack(line, b"x")[0].segments[0].pack)
    deliveries = [
        await letter(line, replace(first, segments=(replace(segment, upload=UUID(int=number)),)))
        for number, segment in enumerate((at_the_other, with_the_other_s_key, another_pack, own))
    ]
    await line.run("ingest", "encrypt")
    assert [line.events(d) for d in deliveries] == [["A.2"]] * 4  # the last one too: its key is its upload's
    assert all(b"its key does not open" in line.last(d).canonical for d in deliveries)


async def test_a_pack_whose_key_the_bridge_lost_rejects_no_letter() -> None:
    """A thousand letters are not told that their contents are wrong because a key is missing."""
    line = Line()
    [upload] = in_a_pack(line, b"content")
    segment = upload.segments[0]
    assert segment.pack is not None
    lost = replace(segment, pack=replace(segment.pack, intake_key_id="intake-199901"))
    await letter(line, replace(upload, segments=(lost,)))
    await line.run("ingest", "encrypt")
    assert line.dead() == ["intake denied: key_unknown"]


async def test_no_upload_is_read_for_a_letter_without_consent() -> None:
    """It is refused before anything is opened."""
    line = Line()
    bridge, objects = watched(line)
    content = (
        await line.facts.contents([await letter(line, in_parts(line, b"content"), consent="withdrawn")])
    ).values()
    assert unread(content) == {}
    assert await read_back({}, bridge, objects, 1.0) == {}  # type: ignore[arg-type]
    assert not bridge.asked
