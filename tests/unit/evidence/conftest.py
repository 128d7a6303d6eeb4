"""One made-up provider and one accepted letter, shared: making them signs a dozen times."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import settings

from pipeline.evidence.facts import EvidenceDraft
from tests.fakes import letters
from tests.fakes.pki import Provider, revocation_list

settings.register_profile("unhurried", deadline=None)  # a loaded machine is no failure
settings.load_profile("unhurried")


@dataclass(frozen=True, slots=True)
class Letter:
    provider: Provider
    drafts: list[EvidenceDraft]
    documents: list[bytes]
    package: bytes

    @property
    def anchors(self) -> tuple[bytes, ...]:
        return (self.provider.root.der,)


@pytest.fixture(scope="session")
def letter() -> Letter:
    provider = Provider.new()
    drafts, documents = letters.life(provider, "accepted")
    snapshot = letters.snapshot(provider, documents, revocation_list(provider.root, []))
    return Letter(provider, drafts, documents, provider.packed(snapshot, letters.PACKED_AT))
