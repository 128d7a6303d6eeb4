"""Examine what letters bring with them: read what nobody has read, wrap it, derive the wrap of every letter.

Owns     what a letter's contents come to: a deposit, a refusal, not now, or a fault of ours
Rules    each upload is read and wrapped once for all letters that name it; a letter without consent is not worth the
         reading; a fault of ours rejects no letter, and one letter's trouble is no other's
Elsewhere: reading (read_back.py), the wraps (wrapping.py), messages and what is written (pipeline/stages/encrypt.py)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from pipeline.delivery.facts import ContentWrap, UploadWrap
from pipeline.deposits.read_back import EncryptBridge, KeyLost, NotNow, Sound, Unsound, UploadToRead, Verdict, read_back
from pipeline.deposits.wrapping import derive_wraps, wrap_contents
from pipeline.evidence.dossier import WITHDRAWN, Dossier, Reason
from pipeline.formats.assurance import AssuranceLevel
from pipeline.ports.bridge import wire
from pipeline.ports.outside import Objects
from pipeline.ports.rows import Content

WITHHELD = frozenset({"withdrawn", "unknown"})  # consents under which nothing is read


@dataclass(frozen=True, slots=True)
class WrappedDeposit:
    """Contents found as declared, wrapped for this addressee. contents: wraps made now, for later letters too."""

    dossier: Dossier
    wrap: ContentWrap
    contents: tuple[UploadWrap, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A content that is not what was declared, or may not be sent any more."""

    dossier: Dossier
    reason: Reason


@dataclass(frozen=True, slots=True)
class OwnFault:
    """No reading can settle it, and it is not the content's fault: a person has to look."""

    why: str


Finding = WrappedDeposit | Refusal | NotNow | OwnFault


async def examine(
    letters: Sequence[Content],
    minimum_level: AssuranceLevel,
    bridge: EncryptBridge,
    objects: Objects,
    reading_seconds: float,
) -> dict[UUID, Finding]:
    """A finding for each, by its delivery. No reading begins when `reading_seconds` are over. Raises Transient when the
    bridge is away: then nothing was found."""
    uploads = unread(letters)
    verdicts = await read_back(uploads, bridge, objects, reading_seconds)
    sound = {u: (uploads[u], verdict) for u, verdict in verdicts.items() if isinstance(verdict, Sound)}
    wraps = await wrap_contents(sound, bridge)
    findings: dict[UUID, Finding] = {}
    whole: list[tuple[Content, dict[UUID, UploadWrap]]] = []
    for letter in letters:
        if (finding := judge(letter, verdicts, wraps)) is not None:
            findings[letter.delivery] = finding
        else:
            new = {u: w for u in letter.uploads.values() if isinstance(w := wraps.get(u), UploadWrap)}
            whole.append((completed(letter, new), new))
    derived = await derive_wraps([letter for letter, _ in whole], minimum_level, bridge)
    for (letter, new), wrap in zip(whole, derived, strict=True):
        findings[letter.delivery] = (
            OwnFault(f"wrap denied: {wrap.code}")
            if isinstance(wrap, wire.Denied)
            else WrappedDeposit(letter.dossier, wrap, tuple(new.values()))
        )
    return findings


def unread(letters: Iterable[Content]) -> dict[UUID, UploadToRead]:
    """The uploads that nobody has read, each once."""
    uploads: dict[UUID, UploadToRead] = {}
    for letter in letters:
        if letter.consent in WITHHELD:
            continue
        for part in letter.dossier.parts:
            own = tuple(s for s in letter.segments if s.part == part.number)
            if own and own[0].upload not in letter.wraps and own[0].upload not in uploads:
                uploads[own[0].upload] = UploadToRead(part, own)
    return uploads


def judge(
    letter: Content, verdicts: Mapping[UUID, Verdict], wraps: Mapping[UUID, UploadWrap | wire.Denied]
) -> Refusal | NotNow | OwnFault | None:
    """None when every document is, byte for byte, what the sender declared."""
    if letter.consent in WITHHELD:
        return Refusal(letter.dossier, WITHDRAWN)
    reason: Reason | None = None
    later: NotNow | None = None
    for part, declared in zip(letter.dossier.parts, letter.declared_sha256, strict=True):
        upload = letter.uploads.get(part.number)
        if upload is None:
            return OwnFault(f"document {part.number} has no segment")
        verdict, wrap = verdicts.get(upload), wraps.get(upload)
        if isinstance(verdict, KeyLost):
            return OwnFault(f"intake denied: {verdict.code}")
        if isinstance(wrap, wire.Denied):
            return OwnFault(f"wrap denied: {wrap.code}")
        if isinstance(verdict, NotNow):
            later = later or verdict
        elif isinstance(verdict, Unsound):
            reason = reason or Reason(verdict.code, f"Document {part.number}: {verdict.text}.")
        elif declared != part.sha256:
            text = f"Document {part.number}: the stored content has another digest."
            reason = reason or Reason("digest_mismatch", text)
    return later if reason is None else Refusal(letter.dossier, reason)


def completed(letter: Content, new: Mapping[UUID, UploadWrap]) -> Content:
    """With all its wraps, and the second digest of what arrived in parts: it is known since it was read."""
    wraps = {**letter.wraps, **new}
    parts = tuple(replace(p, sha3_256=wraps[letter.uploads[p.number]].sha3_256) for p in letter.dossier.parts)
    return replace(letter, dossier=replace(letter.dossier, parts=parts), wraps=wraps)
