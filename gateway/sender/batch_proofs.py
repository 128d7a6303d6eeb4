"""/v1/batches/{id}/proof: one sealed proof of deposit for all lines of a batch.

Rules    made once, when every line is deposited or rejected; until then 404 not_yet says in which state the batch is
         asked for at `archive` by the first question after the batch was completed; the same request again gets it
Elsewhere: making it (pipeline/exports/batch_proof.py)
"""

from starlette.requests import Request
from starlette.responses import Response

from gateway.problems import Problem
from gateway.sender.oauth import OAuth
from gateway.sender.ports import SenderPorts
from gateway.sender.proofs import PACKAGE_TYPE
from gateway.sender.stored import StoredAnswer, stored_answer
from pipeline.intake.reading import identifier

SCOPE = "evidence:read"
SETTLED = ("completed", "completed_with_errors")
ENDED = ("cancelled", "failed")  # not every line was deposited or rejected, and none ever will be
MAKING_SECONDS = 2  # a proof of some thousand lines
WAITING_SECONDS = 10


class BatchProofs:
    """The download."""

    def __init__(self, ports: SenderPorts, oauth: OAuth) -> None:
        self._ports = ports
        self._oauth = oauth

    async def show(self, request: Request) -> Response:
        """GET."""
        principal = await self._oauth.authorise(request, SCOPE)
        try:
            batch = identifier(request.path_params["batch"])
        except ValueError as error:
            raise Problem("not_found") from error
        batch_proof = await self._ports.exports.batch_proof(principal.sender, batch)
        if batch_proof is None:
            raise Problem("not_found")
        if batch_proof.proof is not None:
            stored = StoredAnswer(
                what="the proof of deposit",
                object=batch_proof.proof.object,
                object_bytes=batch_proof.proof.proof_bytes,
                sha256=batch_proof.proof.sha256,
                file_name=f"batch-{batch}.asice",
                media_type=PACKAGE_TYPE,
            )
            return await stored_answer(request, stored, self._ports.objects)
        if batch_proof.state in ENDED:
            raise Problem(
                "not_found", f"the batch is {batch_proof.state}; what was deposited of it has packages of its own"
            )
        if batch_proof.state not in SETTLED:
            raise _not_yet(f"the batch is {batch_proof.state}; its proof is made when it is completed", WAITING_SECONDS)
        await self._ports.exports.ask_batch_proof(batch)
        raise _not_yet(f"the batch is {batch_proof.state}; its proof of deposit is being made", MAKING_SECONDS)


def _not_yet(detail: str, seconds: int) -> Problem:
    return Problem("not_yet", detail, headers={"Retry-After": str(seconds)})
