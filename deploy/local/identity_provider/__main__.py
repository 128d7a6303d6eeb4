"""python -m deploy.local.identity_provider: serve the embedded identity provider on the issuer's loopback address."""

import socket
import sys
from functools import partial
from urllib.parse import urlsplit

import httpx
import uvicorn
from joserfc.jwk import ECKey, KeySet

from deploy.local.identity_provider import keys
from deploy.local.identity_provider.server import StandInProvider
from deploy.local.identity_provider.tokens import TokenIssuer
from pipeline.formats.configuration import Config, load_from_environment
from pipeline.formats.identity_providers import EMBEDDED
from pipeline.process import life, serving
from pipeline.process.life import Life

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
FETCH_SECONDS = 3.0
JWKS_BYTES_MAX = 64 * 1024
FINISH_SECONDS = 3
DRAIN_SECONDS = 4.0  # the supervisor waits 5


def provider(config: Config) -> StandInProvider:
    """The provider that this configuration describes."""
    key = keys.prepare(config)
    foreign = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256", "kid": key.kid or ""})
    public_url, settings = config.gateway.public_url, keys.settings_of(config)

    async def recipient_key() -> ECKey:
        return await fetch_recipient_key(f"{public_url}/identity/jwks.json")

    return StandInProvider(
        TokenIssuer(settings.issuer, key, foreign),
        settings.client_id,
        keys.client_secret(config),
        f"{public_url}/identity/callback/{EMBEDDED}",
        recipient_key,
    )


async def fetch_recipient_key(address: str) -> ECKey:
    """The newest encryption key that the relying party publishes; fetched each time: a new one is seen at once."""
    async with httpx.AsyncClient(timeout=FETCH_SECONDS, trust_env=False) as client:
        answer = await client.get(address)
    answer.raise_for_status()
    if len(answer.content) > JWKS_BYTES_MAX:
        raise ValueError("the relying party's key set is too large")
    usable = [key for key in KeySet.import_key_set(answer.json()).keys if isinstance(key, ECKey)]
    if not usable:
        raise ValueError("the relying party publishes no EC key")
    return usable[0]


def bound_socket(issuer: str) -> socket.socket:
    """A listening socket on the issuer's address, which must be loopback."""
    address = urlsplit(issuer)
    if address.hostname not in LOOPBACK or address.port is None:
        raise SystemExit("the embedded identity provider only listens on loopback; its issuer must name it with a port")
    return socket.create_server((address.hostname, address.port))


async def work(config: Config, own: Life) -> None:
    """Until it has drained."""
    settings = uvicorn.Config(
        provider(config).app(),
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=FINISH_SECONDS,
        server_header=False,
    )
    await serving.serve(settings, bound_socket(keys.settings_of(config).issuer), own.draining, own.ready)


if __name__ == "__main__":
    sys.exit(life.run("identity_provider", partial(work, load_from_environment()), DRAIN_SECONDS))
