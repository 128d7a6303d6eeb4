"""pipeline.stores.exports.ExportStore over the gateway's connections: proofs of batches and exports, as asked."""

from collections.abc import Sequence
from uuid import UUID

from pipeline.adapters.postgres.database import Database
from pipeline.delivery.routes import BATCH_PROOF, BULK, EXPORT, Emission
from pipeline.stores.exports import BatchProofSeen, ExportOrder, ExportPart, ExportSeen, StoredBatchProof


class PostgresExportStore:
    """Reads and orders; what is made is written by `archive`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def batch_proof(self, sender: UUID, batch: UUID) -> BatchProofSeen | None:
        """The batch's state, and its proof."""
        row = await self._database.fetch_one("sender_batch_proof", batch, sender)
        if row is None:
            return None
        proof = None
        if row["object"] is not None:
            proof = StoredBatchProof(row["object"], row["proof_bytes"], row["sha256"])
        return BatchProofSeen(row["state"], proof)

    async def ask_batch_proof(self, batch: UUID) -> None:
        """The request row and the message are one transaction, so one message is enough."""
        async with self._database.transaction() as tx:
            if await tx.fetch("ask_batch_proof", batch):
                await tx.emit([Emission(BATCH_PROOF, batch, lane=BULK)])

    async def has_batch(self, sender: UUID, batch: UUID) -> bool:
        """Whether it is there and theirs."""
        return await self._database.fetch_one("sender_has_batch", batch, sender) is not None

    async def order_export(self, order: ExportOrder) -> None:
        """The order and its first message."""
        async with self._database.transaction() as tx:
            new = await tx.fetch(
                "add_export",
                order.id,
                order.sender,
                order.batch,
                order.from_time,
                order.to_time,
                list(order.kinds),
            )
            if new:
                await tx.emit([Emission(EXPORT, order.id, lane=BULK)])

    async def export(self, sender: UUID, export: UUID) -> ExportSeen | None:
        """The parts are read after the order: an export that is told ready has them all."""
        row = await self._database.fetch_one("sender_export", export, sender)
        if row is None:
            return None
        order = ExportOrder(
            row["id"], sender, row["batch"], row["from_time"], row["to_time"], tuple(sorted(row["kinds"]))
        )
        return ExportSeen(order, row["asked_at"], row["is_ready"], tuple(await self.export_parts(export)))

    async def export_parts(self, export: UUID) -> Sequence[ExportPart]:
        """In order."""
        return [ExportPart(**row) for row in await self._database.fetch("export_parts", export)]
