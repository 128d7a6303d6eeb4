"""The page that says what a proof proves, whatever kind of proof it is."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from starlette.applications import Starlette

from gateway.pages.rendering import Pages
from gateway.verify.ports import VerifyPorts
from gateway.verify.routes import routes
from pipeline.formats.configuration import Config, parse
from tests.fakes.checking import CheckerHere
from tests.portal_world import config_table

pytestmark = pytest.mark.anyio
VECTORS = Path(__file__).parents[2] / "vectors" / "evidence"


class Published:
    """The authority under which the stored proofs were made; it has revoked nothing."""

    async def trust_anchor(self) -> bytes:
        return (VECTORS / "ca.cer").read_bytes()

    async def document(self, _name: str) -> None:
        return None


@dataclass(frozen=True)
class Outside:
    config: Config
    keys: Published = field(default_factory=Published)
    checker: CheckerHere = field(default_factory=CheckerHere)


@pytest.fixture
def client(state_dir: Path) -> httpx.AsyncClient:
    ports = cast(VerifyPorts, Outside(parse(config_table(state_dir))))
    application = Starlette(routes=cast(Any, routes(ports, Pages(ports.config))))
    return httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://portal.test")


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize("name", sorted(path.name for path in VECTORS.glob("*.asice")))
async def test_every_kind_of_valid_proof_has_its_page(client: httpx.AsyncClient, name: str, language: str) -> None:
    """A letter's package and a batch's proof of deposit: what is proven stands there, in either language."""
    proof = (VECTORS / name).read_bytes()
    answer = await client.post(f"/{language}/verify", files={"proof": (name, proof)})
    assert answer.status_code == 200
    assert 'class="verdict valid"' in answer.text
    assert '<dl class="facts">' in answer.text


async def test_a_proof_that_costs_too_much_is_told_so(state_dir: Path) -> None:
    """The page says what to do instead, and is a page."""
    outside = Outside(parse(config_table(state_dir)))
    outside.checker.is_too_costly = True
    ports = cast(VerifyPorts, outside)
    application = Starlette(routes=cast(Any, routes(ports, Pages(ports.config))))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://portal.test") as client:
        answer = await client.post("/fr/verify", files={"proof": ("a", b"PK")})
    assert answer.status_code == 422
    assert "vérificateur en ligne de commande" in answer.text
