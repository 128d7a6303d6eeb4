"""A batch's proof of deposit: what it lists, what it refuses to be, and how it is judged offline."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from pipeline.evidence.form.xades import SealInvalid
from pipeline.evidence.package.batch_proof import (
    DEPOSITED,
    LINES_PER_ENTRY,
    REJECTED,
    BatchHead,
    BatchProofWriter,
    Evidenced,
    ProvenLine,
    open_batch_proof,
)
from pipeline.evidence.package.container import CONTAINER_BYTES_MAX, ContainerRefused, pack, unpack
from pipeline.evidence.package.snapshot import SIGNATURES, package_signed_info
from pipeline.evidence.verification import Verdict, content_digests, verify
from pipeline.evidence.verification.__main__ import main
from pipeline.evidence.verification.rendering import as_dict, verdict_sentence
from pipeline.evidence.verification.report import BatchFacts
from pipeline.formats.package_form import PackageRefused
from pipeline.formats.xades import LIST_OF_THE_SERVICE, READING_COPY, imprint_sha256
from tests.fakes.pki import Provider, time_stamp
from tests.unit.evidence.conftest import Letter

AT = datetime(2026, 3, 2, 9, 0, 0, 120_000, UTC)
HEAD = BatchHead(
    UUID(int=7), "Résiliations <mars>", "non_qualified", "Demo", "Mairie", 2, hashlib.sha256(b"parts").digest(), AT
)


def line(number: int) -> ProvenLine:
    """Every third line failed: by an A.2, or before it became a letter."""
    evidence = Evidenced(f"{number:014d}", AT + timedelta(seconds=number), hashlib.sha256(b"%d" % number).digest())
    if number % 6 == 3:
        return ProvenLine(number, f"ref/{number}", REJECTED, None, "email_invalid")
    outcome = REJECTED if number % 6 == 0 else DEPOSITED
    return ProvenLine(number, None if number % 2 else f"ref/{number}", outcome, evidence)


def made(
    provider: Provider,
    lines: list[ProvenLine],
    head: BatchHead = HEAD,
    purpose: str | None = LIST_OF_THE_SERVICE,
) -> bytes:
    """The file, as `archive` writes it; purpose None: as it was written before seals had one."""
    writer = BatchProofWriter()
    pieces = [writer.start()]
    firsts = range(0, len(lines), LINES_PER_ENTRY)
    pieces += [writer.lines(lines[first : first + LINES_PER_ENTRY]) for first in firsts]
    pieces.append(writer.describe(head, (provider.root.der,), ()))
    package = replace(writer.to_sign(AT + timedelta(days=1)), purpose=purpose)
    signature = provider.seal.sign_raw(package_signed_info(package, provider.seal.der))
    token = time_stamp(provider.unit, imprint_sha256(signature), AT + timedelta(days=1, seconds=1))
    return b"".join([*pieces, writer.finish(package, provider.seal.der, signature, token)])


@pytest.fixture(scope="module")
def proof(letter: Letter) -> bytes:
    return made(letter.provider, [line(n) for n in range(1, 13)])


def test_it_is_an_ordinary_zip_with_a_table_of_lines(proof: bytes) -> None:
    """Anybody reads it: one row per line, the counts beside it, the sender's own digest of what was submitted."""
    with zipfile.ZipFile(io.BytesIO(proof)) as archive:
        assert archive.namelist()[:3] == ["mimetype", "lines/001.csv", "batch.json"]
        rows = archive.read("lines/001.csv").decode().splitlines()
        described = json.loads(archive.read("batch.json"))
    assert rows[0] == "line,client_ref,outcome,number,event_time,evidence_sha256,reason"
    assert rows[1].startswith("1,,deposited,00000000000001,2026-03-02T09:00:01.120Z,")
    assert rows[3] == "3,ref/3,rejected,,,,email_invalid"
    assert (described["lines"], described["deposited"], described["rejected"]) == (12, 8, 4)
    assert described["mode"] == "demonstration"


def test_reading_gives_what_was_written(proof: bytes) -> None:
    """Strictly, and with nothing but the file."""
    opened = open_batch_proof(proof)
    assert opened.head == HEAD
    assert (opened.counts.deposited, opened.counts.rejected) == (8, 4)


@pytest.mark.parametrize("purpose", [LIST_OF_THE_SERVICE, None])
@pytest.mark.parametrize(("language", "words"), [("en", "no evidence"), ("fr", "non une preuve")])
def test_a_list_is_called_a_list_and_no_evidence(
    letter: Letter, purpose: str | None, language: str, words: str
) -> None:
    """With its purpose under the seal or, as before there was one, without: valid, and no evidence."""
    report = verify(made(letter.provider, [line(1)], purpose=purpose), [letter.provider.root.der])
    assert (report.verdict, report.is_evidence, report.nature) == (Verdict.VALID, False, "list")
    assert words in verdict_sentence(report, language)
    assert as_dict(report, language)["is_evidence"] is False


def test_a_seal_of_another_purpose_is_no_list_s(letter: Letter) -> None:
    """A copy for reading cannot be shown as a list, nor a list's seal be stripped of its purpose."""
    assert verify(made(letter.provider, [line(1)], purpose=READING_COPY), ()).verdict is not Verdict.VALID
    whole = made(letter.provider, [line(1)])
    seal = dict(unpack(whole))[SIGNATURES]
    start, end = seal.index(b"<xades:CommitmentTypeIndication>"), seal.index(b"</xades:SignedDataObjectProperties>")
    stripped = [(n, seal[:start] + seal[end:] if n == SIGNATURES else c) for n, c in unpack(whole)]
    assert verify(pack(stripped), [letter.provider.root.der]).verdict is Verdict.INVALID


def test_many_lines_come_in_several_entries(letter: Letter) -> None:
    """The memory needed is that of one entry: full ones but for the last."""
    lines = [ProvenLine(n, None, REJECTED, None, "email_invalid") for n in range(1, LINES_PER_ENTRY + 6)]
    whole = made(letter.provider, lines)
    assert open_batch_proof(whole).counts.rejected == LINES_PER_ENTRY + 5
    entries = unpack(whole)
    with pytest.raises((PackageRefused, SealInvalid)):
        open_batch_proof(pack([e for e in entries if e[0] != "lines/001.csv"]))


def test_a_verifier_says_valid_and_for_whom(letter: Letter, proof: bytes) -> None:
    """With an anchor VALID, without one CANNOT TELL; the facts are the batch's."""
    report = verify(proof, letter.anchors)
    assert (report.kind, report.verdict) == ("batch", Verdict.VALID)
    assert isinstance(report.facts, BatchFacts)
    assert (report.facts.name, report.facts.deposited, report.facts.rejected) == (HEAD.name, 8, 4)
    assert verify(proof).verdict is Verdict.INDETERMINATE


def test_documents_are_not_judged_by_it(letter: Letter, proof: bytes) -> None:
    """It names none, and says so rather than calling a document foreign."""
    report = verify(proof, letter.anchors, [content_digests("letter.pdf", b"letter")])
    assert report.verdict is Verdict.VALID
    assert "batch_content" in [step.check for step in report.steps]


def test_no_byte_can_be_changed(letter: Letter, proof: bytes) -> None:
    """A flip anywhere is found, whatever it hits."""
    for at in range(0, len(proof), max(len(proof) // 400, 1)):
        flipped = bytearray(proof)
        flipped[at] ^= 1
        assert verify(bytes(flipped), letter.anchors).verdict is not Verdict.VALID, f"byte {at}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"1,,deposited", b"2,,deposited"),
        (b"3,ref/3,rejected,,,,email_invalid", b"3,ref/3,deposited,,,,email_invalid"),
        (b"2026-03-02T09:00:01.120Z", b"2026-13-02T09:00:01.120Z"),
        (b'"deposited": 8', b'"deposited": 9'),
        (b",rejected,", b",refused.,"),
    ],
)
def test_what_this_service_would_not_write_is_refused(proof: bytes, before: bytes, after: bytes) -> None:
    """Also when the container around it is in order."""
    entries = [(name, content.replace(before, after, 1)) for name, content in unpack(proof)]
    assert entries != unpack(proof)
    with pytest.raises((PackageRefused, SealInvalid)):
        open_batch_proof(pack(entries))


def test_another_seal_is_refused(letter: Letter, proof: bytes) -> None:
    """A proof sealed by somebody else is in order, and vouched for by nobody."""
    stranger = made(Provider.new(), [line(n) for n in range(1, 13)])
    assert verify(stranger, letter.anchors).failed_check == "trust"
    seal = dict(unpack(stranger))["META-INF/signatures.xml"]
    mixed = pack([(n, seal if n.startswith("META-INF/sig") else c) for n, c in unpack(proof)])
    assert verify(mixed, letter.anchors).failed_check == "batch_form"


def test_lines_are_written_in_order_and_entries_full() -> None:
    """The writer refuses what the reader would."""
    writer = BatchProofWriter()
    writer.start()
    with pytest.raises(PackageRefused):
        writer.lines([line(2)])
    writer = BatchProofWriter()
    writer.start()
    writer.lines([line(1)])
    with pytest.raises(PackageRefused):
        writer.lines([line(2)])


def test_a_reference_or_code_that_would_break_the_table_is_left_out(letter: Letter) -> None:
    """A rejected line's reference may be anything; it forges no row."""
    odd = replace(line(3), line=1, client_ref='x"\n2,,deposited', reason="Not a code")
    table = dict(unpack(made(letter.provider, [odd])))["lines/001.csv"]
    assert table.splitlines()[1] == b"1,,rejected,,,,field_invalid"


def test_the_command_line_reads_a_long_one(
    letter: Letter, proof: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`verify` takes a proof as it takes a package, and only a proof may be longer than a package."""
    anchor, short, long = tmp_path / "ca.cer", tmp_path / "proof.asice", tmp_path / "long.asice"
    anchor.write_bytes(letter.provider.root.der)
    short.write_bytes(proof)
    long.write_bytes(proof + b"\0" * CONTAINER_BYTES_MAX)
    assert main([str(short), "--trust", str(anchor)]) == 0
    assert "8 deposited, 4 rejected" in capsys.readouterr().out
    assert main([str(short), "--trust", str(anchor), "--lang", "fr"]) == 0
    assert main([str(short), "--trust", str(anchor), "--json"]) == 0
    assert main([str(long), "--trust", str(anchor)]) == 1


def test_more_entries_than_a_proof_has_are_not_read(letter: Letter) -> None:
    """A hostile file cannot make the reader hold what no proof has."""
    with pytest.raises(ContainerRefused):
        open_batch_proof(pack([("mimetype", b"x"), *((f"trust/a-{n}.cer", b"") for n in range(90))]))
