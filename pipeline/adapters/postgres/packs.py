"""The rows of a pack, inside a transaction of whoever names its contents. The queries are in sql/senders.sql."""

from pipeline.adapters.postgres.tx import PostgresTx
from pipeline.content.envelope import PACKED_FORMAT
from pipeline.stores.senders import PackRows


async def add_pack(tx: PostgresTx, rows: PackRows) -> None:
    """The pack, its uploads and their segments: two statements for thousands of them."""
    pack = rows.pack
    uploads, segments = [u for u, _ in rows.contents], [s for _, s in rows.contents]
    await tx.fetch("add_pack", pack.object, pack.intake_key_id, pack.sealed_key, pack.object_bytes)
    await tx.fetch(
        "add_packed_uploads",
        [u.id for u in uploads],
        [u.file_name for u in uploads],
        [u.content_type for u in uploads],
        [u.content_bytes for u in uploads],
        [u.sha256 for u in uploads],
        [u.sha3_256 for u in uploads],
        [s.sealed_key for s in segments],
        [s.object_offset for s in segments],
        [s.object_bytes for s in segments],
        [u.sender for u in uploads],
        uploads[0].expires_at,
        pack.object,
        PACKED_FORMAT,
        pack.intake_key_id,
    )
