"""Containers made to be expensive: refused before anything is built of them, whichever entry carries the load."""

import time
import tracemalloc

import pytest

from pipeline.evidence.package.batch_proof import DESCRIPTION as BATCH_DESCRIPTION
from pipeline.evidence.package.batch_proof import HEADER
from pipeline.evidence.package.container import pack
from pipeline.evidence.package.snapshot import SIGNATURES
from pipeline.evidence.verification import Verdict, verify
from pipeline.formats.package_form import DESCRIPTION, MANIFEST, MIMETYPE

LOADS = {
    "empty lists": b"[" + b"[]," * 1_500_000 + b"[]]",
    "members": b"{" + b'"a":{},' * 600_000 + b'"a":0}',
    "nesting": b"[" * 5_000_000,
    "numbers": b"9" * 5_000_000,
    "quotes": b'"' + b'\\"' * 2_500_000 + b'"',
    "elements": b"<a>" + b"<b/>" * 1_200_000 + b"</a>",
    "evidence": b'<erds:Evidence xmlns:erds="http://uri.etsi.org/19522/v1#">' + b"<a>" * 1_500_000,
    "nothing": b"\x00" * 5_000_000,
}
LINES = "lines/001.csv"
ENTRIES = ("mimetype", DESCRIPTION, "evidence/001-A.1.xml", "trust/authority-1.cer", MANIFEST, SIGNATURES)
BATCH_ENTRIES = ("mimetype", LINES, BATCH_DESCRIPTION, "trust/revoked-1.crl", MANIFEST, SIGNATURES)
SMALL = {"mimetype": MIMETYPE, LINES: HEADER}


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("names", [ENTRIES, BATCH_ENTRIES], ids=["package", "batch"])
def test_no_entry_costs_more_than_its_bytes(names: tuple[str, ...], load: str) -> None:
    """Five megabytes in any entry: a report, in a second and in a few times their memory."""
    for loaded in names:
        proof = pack([(name, LOADS[load] if name == loaded else SMALL.get(name, b"{}")) for name in names])
        started = time.process_time()
        report = verify(proof)
        assert time.process_time() - started < 1.0, loaded
        assert report.verdict in (Verdict.INVALID, Verdict.NOT_A_PROOF), loaded
    tracemalloc.start()
    try:
        for loaded in names:
            proof = pack([(name, LOADS[load] if name == loaded else SMALL.get(name, b"{}")) for name in names])
            tracemalloc.reset_peak()
            verify(proof)
            assert tracemalloc.get_traced_memory()[1] < 5 * len(proof), loaded
    finally:
        tracemalloc.stop()
