"""The offline verifier: `verify(data, anchors, contents, at) -> Report`, and the command line around it.

No network, no running system. `python -m pipeline.evidence.verification` and `qerds verify` are the same program; with
`pipeline.formats` it needs only the `cryptography` package beside the standard library.
"""

from pipeline.evidence.certificates import CertificateRefused, load_anchors
from pipeline.evidence.verification.protocol import verify
from pipeline.evidence.verification.report import (
    CheckOutcome,
    ContentDigests,
    Report,
    Step,
    Verdict,
    content_digests,
)

__all__ = [
    "CertificateRefused",
    "CheckOutcome",
    "ContentDigests",
    "Report",
    "Step",
    "Verdict",
    "content_digests",
    "load_anchors",
    "verify",
]
