"""The key ceremony: makes in the token what is missing, and certifies it.

`python -m hsm_bridge.token.ceremony --config FILE`

Owns     which keys an installation has, their certificates, the first revocation list, the files that others trust
Rules    may be run again at any time: what exists stays, what this month or year asks for and is missing is made.
         A crash leaves a key without certificate; the next run certifies it. Nobody else makes keys
Elsewhere: the token's initialisation and PINs (whoever sets the installation up), publication (service)
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hsm_bridge import clock
from hsm_bridge.token import certificates, keyring
from hsm_bridge.token.certificates import TokenSigningKey
from hsm_bridge.token.device import KeyMissing, KeyUse, Token, TokenAway, TokenStopped
from pipeline.formats.checked_table import ConfigInvalid
from pipeline.formats.configuration import Config, load

SERIAL_BYTES = 16  # RFC 5280 section 4.1.2.2 allows 20
ISSUERS = {  # which certificate a key gets, by the use in its label; the other keys have none
    "seal": certificates.seal_certificate,
    "tsu": certificates.unit_certificate,
    "statement": certificates.statement_certificate,
}


@dataclass(frozen=True, slots=True)
class Ceremony:
    """One run over an open, writable token."""

    token: Token
    config: Config
    moment: datetime

    def run(self) -> list[str]:
        """Makes what is missing; the names of what was made. Order: keys, authority, its certificates, its list."""
        made = [label for label, use in self._wanted() if self._ensure_key(label, use)]
        (self.config.bridge.data_dir / "public").mkdir(mode=0o755, parents=True, exist_ok=True)
        self.config.bridge.public_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        authority = self._authority()
        made += [f"certificate of {label}" for label in self._uncertified() if self._certify(label, authority)]
        keyring.write_public(self.config.bridge.public_dir / "ca.pem", authority.public_bytes(Encoding.PEM))
        if not keyring.crl_path(self.config).exists():
            key = TokenSigningKey(self.token, "ca-1")
            first = certificates.revocation_list(authority, key, 1, self.moment)
            keyring.write_public(keyring.crl_path(self.config), first)
            made.append("revocation list 1")
        keyring.load(self.token, self.config)  # reads all back, as the service will
        return made

    def _wanted(self) -> list[tuple[str, KeyUse]]:
        year, month = f"{self.moment:%Y}", f"{self.moment:%Y%m}"
        present = self.token.labels()
        keys: list[tuple[str, KeyUse]] = [("ca-1", "ca"), ("mac-1", "mac"), ("identity-1", "identity")]
        keys += [(f"intake-{month}", "intake"), (f"kek-{month}", "kek")]
        yearly: tuple[KeyUse, ...] = ("seal", "tsu", "statement", "webhook")
        for use in yearly:
            if not any(label.startswith(f"{use}-{year}-") for label in present):
                keys.append((f"{use}-{year}-1", use))
        return keys

    def _ensure_key(self, label: str, use: KeyUse) -> bool:
        if label in self.token.labels():
            self.token.check_key(label, use)
            return False
        self.token.generate(label, use)
        return True

    def _authority(self) -> x509.Certificate:
        path = keyring.certificate_path(self.config, "ca-1")
        if not path.exists():
            key = TokenSigningKey(self.token, "ca-1")
            made = certificates.authority_certificate(
                key, self.config.provider, self.config.mode, self._serial(), self.moment
            )
            keyring.write_public(path, made)
        return x509.load_der_x509_certificate(path.read_bytes())

    def _uncertified(self) -> list[str]:
        certified = [label for label in self.token.labels() if label.partition("-")[0] in ISSUERS]
        return [label for label in certified if not keyring.certificate_path(self.config, label).exists()]

    def _certify(self, label: str, authority: x509.Certificate) -> bool:
        made = ISSUERS[label.partition("-")[0]](
            authority,
            TokenSigningKey(self.token, "ca-1"),
            self.token.public_key(label),
            self.config.provider,
            self.config.mode,
            self._serial(),
            self.moment,
        )
        keyring.write_public(keyring.certificate_path(self.config, label), made)
        return True

    def _serial(self) -> int:
        return int.from_bytes(self.token.random(SERIAL_BYTES), "big") | 1  # never zero


def main(arguments: Sequence[str]) -> int:
    """Runs the ceremony and prints what it made; 3 when the token or the configuration is not ready."""
    parser = argparse.ArgumentParser(
        prog="python -m hsm_bridge.token.ceremony", description="Make the keys that are missing."
    )
    parser.add_argument("--config", type=Path, required=True, help="the configuration file")
    settings = parser.parse_args(arguments)
    try:
        loaded = load(settings.config)
        token = Token(loaded.token, writable=True)
        try:
            made = Ceremony(token, loaded, clock.now()).run()
        finally:
            token.close()
    except (ConfigInvalid, KeyMissing, TokenAway, TokenStopped) as error:
        sys.stderr.write(f"key ceremony: {error}\n")
        return 3
    sys.stdout.write("".join(f"made {name}\n" for name in made) or "all keys are there\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
