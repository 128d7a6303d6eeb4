"""The embedded identity provider: as strict as the one it stands for, and hostile only on request."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwe, jws
from joserfc.jwk import ECKey

from deploy.local.identity_provider import attacks, keys
from deploy.local.identity_provider.__main__ import bound_socket
from deploy.local.identity_provider.grants import CODE_SECONDS
from deploy.local.identity_provider.server import StandInProvider
from deploy.local.identity_provider.tokens import JWE_REGISTRY, TOKEN_SECONDS, TokenIssuer
from pipeline.formats.configuration import parse
from tests.portal_world import config_table

pytestmark = pytest.mark.anyio

ISSUER = "http://127.0.0.1:8403"
CALLBACK = "https://portal.example/identity/callback"
SECRET = "secret"
ASKED = {
    "client_id": "qerds-portal",
    "response_type": "code",
    "scope": "openid identite_pivot preferred_username",
    "redirect_uri": CALLBACK,
    "state": "s" * 43,
    "nonce": "n" * 43,
    "acr_values": "eidas2",
    "prompt": "login",
}
REDEEM = {
    "grant_type": "authorization_code",
    "redirect_uri": CALLBACK,
    "client_id": "qerds-portal",
    "client_secret": SECRET,
}


class Desk:
    """One provider with its keys, a clock that a test moves, and a client."""

    def __init__(self) -> None:
        self.time = 1_770_000_000.0
        self.key = ECKey.generate_key("P-256", {"kid": "sign"})
        self.recipient = ECKey.generate_key("P-256", {"kid": "identity-1"})

        async def recipient_key() -> ECKey:
            return self.recipient

        issuer = TokenIssuer(ISSUER, self.key, ECKey.generate_key("P-256", {"kid": "sign"}))
        app = StandInProvider(issuer, "qerds-portal", SECRET, CALLBACK, recipient_key, lambda: self.time).app()
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ISSUER)

    async def back(self, **picked: str) -> dict[str, str]:
        """Through the picker; the parameters of the way back."""
        page = await self.http.get("/authorize", params=ASKED)
        [interaction] = re.findall(r'name="interaction" value="([0-9a-f]+)"', page.text)
        answer = await self.http.post("/interaction", data={"interaction": interaction, "person": "angela"} | picked)
        assert answer.status_code == 303, answer.text
        assert answer.headers["location"].startswith(f"{CALLBACK}?")
        return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}

    async def tokens(self, code: str) -> httpx.Response:
        return await self.http.post("/token", data=REDEEM | {"code": code})

    def opened(self, token: str) -> tuple[dict[str, object], dict[str, object]]:
        """Outer header and claims of a nested token."""
        outer = jwe.decrypt_compact(token, self.recipient, registry=JWE_REGISTRY)
        assert outer.plaintext is not None
        inner = jws.deserialize_compact(outer.plaintext.decode(), self.key, algorithms=["ES256"])
        return dict(outer.headers()), json.loads(inner.payload)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    yield made
    await made.http.aclose()


async def test_tokens_look_like_the_real_ones(desk: Desk) -> None:
    """Nested JWS in JWE with iss and aud outside; birth name in capitals, pairwise subject, the asked claims only."""
    back = await desk.back(acr="eidas3")
    assert (back["state"], back["iss"]) == (ASKED["state"], ISSUER)
    answer = (await desk.tokens(back["code"])).json()
    header, claims = desk.opened(answer["id_token"])
    assert header == {"alg": "ECDH-ES", "enc": "A256GCM", "cty": "JWT", "kid": "identity-1", "iss": ISSUER,
                      "aud": "qerds-portal", "epk": header["epk"]}  # fmt: skip
    assert claims["exp"] == int(desk.time) + TOKEN_SECONDS
    assert (claims["nonce"], claims["acr"]) == (ASKED["nonce"], "eidas3")
    bearer = {"Authorization": f"Bearer {answer['access_token']}"}
    userinfo = await desk.http.get("/userinfo", headers=bearer)
    assert userinfo.headers["content-type"] == "application/jwt"
    _, said = desk.opened(userinfo.text)
    assert said["sub"] == claims["sub"]
    assert len(str(said["sub"])) == 66
    assert (said["given_name"], said["family_name"]) == ("Angela Claire Louise", "DUBOIS")
    assert said["birthdate"] == "1962-08-24"
    assert "email" not in said
    desk.time += TOKEN_SECONDS
    assert (await desk.http.get("/userinfo", headers=bearer)).status_code == 401


@pytest.mark.parametrize(
    "change",
    [
        {"code_challenge": "x" * 43},
        {"code_challenge_method": "S256"},
        {"login_hint": "a"},
        {"response_mode": "form_post"},
        {"redirect_uri": "https://evil.example/"},
        {"client_id": "another"},
        {"acr_values": "eidas1"},
        {"acr_values": ""},
        {"nonce": "short"},
        {"state": ""},
        {"scope": "openid everything"},
        {"response_type": "token"},
        {"state": "s" * 600},
    ],
)
async def test_what_is_not_on_the_list_is_refused(desk: Desk, change: dict[str, str]) -> None:
    """As at FranceConnect+: a page with code Y000400, and no way back to the service."""
    page = await desk.http.get("/authorize", params=ASKED | change)
    assert page.status_code == 400
    assert "Y000400" in page.text


async def test_a_code_is_good_once_and_for_half_a_minute(desk: Desk) -> None:
    """Used twice, late or unknown: invalid_grant; a replay also ends the token that the code gave."""
    code = (await desk.back())["code"]
    token = (await desk.tokens(code)).json()["access_token"]
    assert (await desk.tokens(code)).json() == {"error": "invalid_grant"}
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await desk.http.get("/userinfo", headers=bearer)).status_code == 401
    late = (await desk.back())["code"]
    desk.time += CODE_SECONDS
    assert (await desk.tokens(late)).status_code == 400
    assert (await desk.tokens("unknown")).status_code == 400


async def test_only_the_client_redeems(desk: Desk) -> None:
    """A wrong secret is refused, and does not spend the code."""
    code = (await desk.back())["code"]
    wrong = await desk.http.post("/token", data=REDEEM | {"code": code, "client_secret": "guess"})
    assert wrong.status_code == 401
    assert (await desk.tokens(code)).status_code == 200


async def test_anyone_can_be_anyone(desk: Desk) -> None:
    """The free form makes a person; a form without names does not."""
    back = await desk.back(person="other", given_name="Zoé", family_name="Lefèvre", birthdate="1980-05-17")
    answer = (await desk.tokens(back["code"])).json()
    userinfo = await desk.http.get("/userinfo", headers={"Authorization": f"Bearer {answer['access_token']}"})
    _, said = desk.opened(userinfo.text)
    assert said["family_name"] == "LEFÈVRE"
    page = await desk.http.get("/authorize", params=ASKED)
    [interaction] = re.findall(r'name="interaction" value="([0-9a-f]+)"', page.text)
    nobody = await desk.http.post("/interaction", data={"interaction": interaction, "person": "other"})
    assert nobody.status_code == 400


async def test_every_attack_is_offered(desk: Desk) -> None:
    """The picker shows all of them, as plain form fields that need no script."""
    page = await desk.http.get("/authorize", params=ASKED)
    assert set(re.findall(r'<option value="([a-z_]+)"', page.text)) == set(attacks.EXPLAINED)
    assert "<script" not in page.text
    assert (await desk.back(attack="access_denied"))["error"] == "access_denied"


def test_keys_are_made_once(state_dir: Path) -> None:
    """A second start keeps key and secret, so that what the bridge pinned stays true; secrets are private files."""
    config = parse(config_table(state_dir))
    first = keys.prepare(config)
    secret = keys.client_secret(config)
    jwks_file = keys.settings_of(config).jwks_file
    assert jwks_file is not None
    pinned = jwks_file.read_text()
    assert keys.prepare(config).kid == first.kid
    assert keys.client_secret(config) == secret
    assert jwks_file.read_text() == pinned
    assert '"d"' not in pinned
    for path in keys.settings_of(config).client_secret_file.parent.iterdir():
        assert path.stat().st_mode & 0o077 == 0


def test_it_runs_nowhere_but_at_home(state_dir: Path) -> None:
    """Not in an installation that names another provider, not on an address that others reach."""
    table = config_table(state_dir)
    table["identity"]["providers"] = {"franceconnect_plus": table["identity"]["providers"]["embedded"]}
    with pytest.raises(SystemExit):
        keys.prepare(parse(table))
    with pytest.raises(SystemExit):
        bound_socket("http://0.0.0.0:8403")
