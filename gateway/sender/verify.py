"""POST /v1/verify (public): is this package or evidence a proof of ours, and does it name these contents?

Owns     the upload of a check and its answer as JSON
Rules    nothing is stored or logged, and nothing is written to a disk; anchor and revocation list are those that this
         service publishes: who distrusts it checks offline, with the same program. The check runs in a process of its
         own, which may be killed
Elsewhere: what is checked (pipeline/evidence/verification), the page for people (gateway/verify)
"""

from collections.abc import AsyncGenerator, Sequence

import anyio
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.addresses import body_bytes_max
from gateway.callers import caller_of
from gateway.limits import PACKAGE_BYTES_MAX, pieces
from gateway.places import Places
from gateway.problems import Problem, field_problem, language_of
from gateway.sender.ports import SenderPorts
from pipeline.evidence.verification import ContentDigests, content_digests
from pipeline.evidence.verification.rendering import as_dict
from pipeline.intake.reading import digest
from pipeline.ports.outside import CheckTooCostly

BODY_BYTES_MAX = PACKAGE_BYTES_MAX + 64 * 1024
CHECKS_AT_ONCE = 4  # each may hold a package and its documents in memory
ARRIVAL_SECONDS = 120  # 32 MiB at 2.3 Mbit/s
FILES_MAX = 21  # a proof and as many documents as a letter has
FIELDS_MAX = 20


class _InMemory(MultiPartParser):
    spool_max_size = BODY_BYTES_MAX + 1  # never reached, so nothing is written to a disk


class Verify:
    """/v1/verify."""

    def __init__(self, ports: SenderPorts) -> None:
        self._ports = ports
        self._places = Places(CHECKS_AT_ONCE, "checks")

    async def judge(self, request: Request) -> Response:
        """POST multipart/form-data: proof, any content files, any content_sha256."""
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            raise Problem("type_not_allowed", "send multipart/form-data with the proof in the part `proof`")
        with self._places.held_by(caller_of(request.scope)):
            proof, contents = await _given(request)
            anchors = [await self._ports.keys.trust_anchor()]
            revoked = await self._ports.keys.document("crl")
            lists = [] if revoked is None else [revoked]
            report = await self._ports.checker.check(proof, anchors, contents, lists)
        if isinstance(report, CheckTooCostly):
            raise field_problem("field_invalid", "proof", "takes more to check than is done here; check it offline")
        return JSONResponse(as_dict(report, language_of(request)))


async def _given(request: Request) -> tuple[bytes, Sequence[ContentDigests]]:
    parser = _InMemory(request.headers, _body(request), max_files=FILES_MAX, max_fields=FIELDS_MAX)
    try:
        with anyio.fail_after(ARRIVAL_SECONDS):
            form = await parser.parse()
    except TimeoutError as error:
        raise Problem("unavailable", f"the body did not arrive within {ARRIVAL_SECONDS} s") from error
    except MultiPartException as error:
        raise field_problem("field_invalid", "", f"the multipart body is not well-formed: {error.message}") from error
    try:
        proof = form.get("proof")
        if not isinstance(proof, UploadFile) or not (data := await proof.read()):
            raise field_problem("field_invalid", "proof", "is required: the package or evidence, as a file")
        entries = [f for f in form.getlist("content") if not isinstance(f, UploadFile) or f.filename]
        files = [f for f in entries if isinstance(f, UploadFile)]
        if len(files) < len(entries):  # left out in silence it would pass for checked
            raise field_problem("field_invalid", "content", "must be a file")
        contents = [content_digests(f.filename or "", await f.read()) for f in files]
        contents += [_by_digest(value) for value in form.getlist("content_sha256")]
    finally:
        await form.close()
    return data, contents


def _by_digest(value: UploadFile | str) -> ContentDigests:
    try:
        return ContentDigests("content_sha256", digest(value if isinstance(value, str) else ""), None)
    except ValueError as error:
        raise field_problem("field_invalid", "content_sha256", "must be a SHA-256 in hexadecimal or base64") from error


async def _body(request: Request) -> AsyncGenerator[bytes, None]:
    async for piece in pieces(request, body_bytes_max(request)):
        yield piece
