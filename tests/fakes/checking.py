"""The port Checker without processes: the verifier itself, or what a test says."""

from collections.abc import Sequence

from pipeline.evidence.verification import ContentDigests, Report, verify
from pipeline.ports.outside import CheckTooCostly


class CheckerHere:
    """Checks in this process. is_too_costly: every proof is."""

    def __init__(self) -> None:
        self.is_too_costly = False

    async def check(
        self,
        proof: bytes,
        anchors: Sequence[bytes],
        contents: Sequence[ContentDigests],
        revocation_lists: Sequence[bytes],
    ) -> Report | CheckTooCostly:
        if self.is_too_costly:
            return CheckTooCostly()
        return verify(proof, anchors, contents, revocation_lists=revocation_lists)
