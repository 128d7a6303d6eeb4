"""A certificate from its bytes, and its path to the authority that was pinned, whatever its length.

Owns     the strict reading of one certificate; the order of a path, and what each of its certificates must say
Rules    the authority is given by who checks, never taken from what is checked; the path is the one that is given, in
         its order, and nothing is looked for
Elsewhere: what the last certificate is for (each form), the paths of length one of evidences, with their revocation
         lists (pipeline/evidence/certificates.py)
Source   RFC 5280 section 6.1
"""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

PATH_MAX = 6  # certificates below the authority; there are two or three in practice
CERTIFICATE_BYTES_MAX = 8_192

# What the library raises for DER that anybody may have made; most of these are not ValueErrors.
UNREADABLE = (
    *(ValueError, TypeError, UnsupportedAlgorithm),
    *(x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType),
)


class PathRefused(ValueError):
    """No path from this certificate to the authority."""


class CertificateUnreadable(PathRefused):
    """Bytes that are no certificate, in its one encoding."""


@lru_cache(maxsize=256)
def read_certificate(der: bytes) -> x509.Certificate:
    """One DER certificate, byte for byte: what is parsed must be what was hashed. Raises CertificateUnreadable."""
    if len(der) > CERTIFICATE_BYTES_MAX:
        raise CertificateUnreadable("certificate too large")
    try:
        certificate = x509.load_der_x509_certificate(der)
        certificate.extensions  # noqa: B018 - parsed lazily; a broken extension must be refused here
        certificate.public_key()
    except UNREADABLE as error:
        raise CertificateUnreadable("not a certificate") from error
    if certificate.public_bytes(Encoding.DER) != der:
        raise CertificateUnreadable("certificate not in its one encoding")
    return certificate


def check_path(path: Sequence[bytes], authority: bytes, moment: datetime) -> x509.Certificate:
    """The first certificate of a path (DER, each issued by the next, the last by the authority). Raises PathRefused.

    Steps: 1 it has a length, 2 each is valid at the moment, 3 each was issued by the next, 4 who issues may.
    """
    if not 1 <= len(path) <= PATH_MAX:  # 1
        raise PathRefused(f"a path has 1 to {PATH_MAX} certificates")
    chain = [read_certificate(der) for der in (*path, authority)]
    for certificate in chain:  # 2
        if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
            raise PathRefused("a certificate of the path is not valid at that time")
    for below, (leaf, issuer) in enumerate(pairwise(chain)):
        _check_may_issue(issuer, below)  # 4
        try:
            leaf.verify_directly_issued_by(issuer)  # 3
        except (InvalidSignature, *UNREADABLE) as error:
            raise PathRefused("a certificate of the path was not issued by the next") from error
    return chain[0]


def extended_usage(certificate: x509.Certificate) -> frozenset[x509.ObjectIdentifier]:
    """Of the extension, where it is critical; else nothing, as for a certificate without one. Raises PathRefused."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(extension.value) if extension.critical else frozenset()


def _check_may_issue(issuer: x509.Certificate, below: int) -> None:
    """RFC 5280 section 6.1.4 (k) to (n). below: how many authorities stand between it and the first certificate."""
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as error:
        raise PathRefused("an issuer of the path is no authority") from error
    if not constraints.ca or not usage.key_cert_sign:
        raise PathRefused("an issuer of the path is no authority")
    if constraints.path_length is not None and below > constraints.path_length:
        raise PathRefused("the path is longer than an authority in it allows")
