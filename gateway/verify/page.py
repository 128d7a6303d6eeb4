"""The public verification page: give a proof, get the verdict of the same program that works offline.

Owns     the form, the upload's limits, the page that says what was found
Rules    nothing is stored or logged; the upload stays in memory; a few uploads at a time, so that strangers cannot take
         the memory of the portal, and none of them all the places. The check runs in a process of its own, which may be
         killed: neither mathematics nor a proof made to be expensive holds up other pages
         Anchor and revocation list are this service's own, as it publishes them; who distrusts it checks offline
Elsewhere: what is checked (pipeline/evidence/verification)
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

import anyio
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response

from gateway.addresses import body_bytes_max
from gateway.callers import caller_of
from gateway.pages.handler import PageHandler, see_other
from gateway.pages.language import Language, language_in_address, negotiated
from gateway.pages.rendering import Pages
from gateway.places import Places
from gateway.problems import Problem
from gateway.verify.ports import VerifyPorts
from pipeline.errors import Transient
from pipeline.evidence.verification import ContentDigests, Report, content_digests
from pipeline.evidence.verification.rendering import fact_lines
from pipeline.ports.outside import CheckTooCostly

UPLOAD_BYTES_MAX = 32 * 1024 * 1024
ARRIVAL_SECONDS = 25  # a person who waits longer is told to check offline; the place is somebody else's then
UPLOADS_AT_ONCE = 4
FILES_MAX = 21  # a proof and as many documents as a letter has
FIELDS_MAX = 4


class UploadRefused(ValueError):
    """Too large, too slow, too costly or not an upload."""


@dataclass(frozen=True, slots=True)
class Given:
    """What was uploaded."""

    proof: bytes
    contents: tuple[ContentDigests, ...]


class _InMemory(MultiPartParser):
    spool_max_size = UPLOAD_BYTES_MAX + 1  # never reached, so nothing is written to a disk


class VerifyPages(PageHandler[VerifyPorts]):
    """/verify and /{language}/verify."""

    def __init__(self, ports: VerifyPorts, pages: Pages) -> None:
        super().__init__(ports, pages)
        self._places = Places(UPLOADS_AT_ONCE, "checks")

    async def choose_language(self, request: Request) -> Response:
        """GET /verify."""
        return see_other(f"/{negotiated(request.headers.get('accept-language', ''))}/verify")

    async def form(self, request: Request) -> Response:
        """GET: the form."""
        language = language_in_address(request.path_params["language"])
        if language is None:
            return self.neutral(request)
        return self._form(language, None)

    async def judge(self, request: Request) -> Response:
        """POST, with or without a language in the address: the verdict."""
        preference = negotiated(request.headers.get("accept-language", ""))
        language = language_in_address(request.path_params.get("language", preference))
        if language is None:
            return self.neutral(request)
        try:
            with self._places.held_by(caller_of(request.scope)):
                files = await _given(request)
                report = await self._report(files)
        except UploadRefused as error:
            return self._form(language, str(error), 413 if str(error) == "too_large" else 422)
        except (Problem, Transient):  # no place, or no process free
            return self._form(language, "busy", 503)
        lines = [] if report.facts is None else fact_lines(report.facts, language)
        address = f"/{language}/verify"
        return self.pages.page("verified.html", language, report=report, lines=lines, address=address, given=files)

    async def _report(self, files: Given) -> Report:
        anchors: Sequence[bytes] = [await self.ports.keys.trust_anchor()]
        revoked = await self.ports.keys.document("crl")
        lists = [] if revoked is None else [revoked]
        report = await self.ports.checker.check(files.proof, anchors, files.contents, lists)
        if isinstance(report, CheckTooCostly):
            raise UploadRefused("too_costly")
        return report

    def _form(self, language: Language, message: str | None, status: int = 200) -> Response:
        return self.pages.page("verify.html", language, status, message=message, address=f"/{language}/verify")


async def _given(request: Request) -> Given:
    """The proof and the documents; raises UploadRefused, whose text is one of too_large, too_slow, too_costly, empty,
    malformed."""
    parser = _InMemory(request.headers, _bounded(request), max_files=FILES_MAX, max_fields=FIELDS_MAX)
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise UploadRefused("malformed")
    try:
        with anyio.fail_after(ARRIVAL_SECONDS):
            form = await parser.parse()
    except MultiPartException as error:
        raise UploadRefused("malformed") from error
    except TimeoutError as error:
        raise UploadRefused("too_slow") from error
    try:
        return await _read(form)
    finally:
        await form.close()


async def _read(form: FormData) -> Given:
    proof = form.get("proof")
    if not isinstance(proof, UploadFile) or not (data := await proof.read()):
        raise UploadRefused("empty")
    documents = [f for f in form.getlist("content") if isinstance(f, UploadFile) and f.filename]
    contents = [content_digests(d.filename or "", await d.read()) for d in documents]
    return Given(data, tuple(contents))


async def _bounded(request: Request) -> AsyncGenerator[bytes, None]:
    received, bytes_max = 0, body_bytes_max(request)
    async for chunk in request.stream():
        received += len(chunk)
        if received > bytes_max:
            raise UploadRefused("too_large")
        yield chunk
