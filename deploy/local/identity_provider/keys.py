"""The embedded identity provider's own key and the portal's client secret, made at first start.

Owns     the private signing key (beside the client secret, 0600), the JWKS file that the bridge pins, the secret file
Rules    never in anything but an embedded installation; a file that exists is kept, so that the bridge's pin stays true
Elsewhere: the key that tokens are encrypted to. That is the bridge's, fetched from the gateway
"""

import json
import os
import secrets
from pathlib import Path

from joserfc.jwk import ECKey

from pipeline.formats.checked_table import ConfigInvalid
from pipeline.formats.configuration import Config
from pipeline.formats.identity_providers import EMBEDDED, IdentityProviderSettings
from pipeline.formats.secret_file import read_secret

KEY_FILE = "identity-provider-key.json"
SECRET_BYTES = 32


def prepare(config: Config) -> ECKey:
    """Makes what is missing; the signing key. `up` calls it before the bridge starts; may be called twice."""
    settings = settings_of(config)
    key = _signing_key(settings.client_secret_file.parent / KEY_FILE)
    _write_once(settings.client_secret_file, secrets.token_hex(SECRET_BYTES) + "\n", 0o600)
    _publish(settings, key)
    return key


def settings_of(config: Config) -> IdentityProviderSettings:
    """Its place in the configuration. This provider lets anyone be anyone: it runs in an embedded installation and
    nowhere else."""
    settings = config.identity.providers.get(EMBEDDED)
    if not config.embedded or settings is None:
        raise SystemExit("the embedded identity provider only runs in an embedded installation that names it")
    return settings


def client_secret(config: Config) -> str:
    """The secret that the portal authenticates with."""
    return read_secret(settings_of(config).client_secret_file)


def _signing_key(path: Path) -> ECKey:
    fresh = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, auto_kid=True)
    _write_once(path, json.dumps(fresh.as_dict(private=True)), 0o600)
    return ECKey.import_key(json.loads(path.read_text("utf-8")))


def _publish(settings: IdentityProviderSettings, key: ECKey) -> None:
    public = json.dumps({"keys": [key.as_dict(private=False)]}, indent=1) + "\n"
    if settings.jwks_file is None:
        raise ConfigInvalid("the stand-in writes its keys into jwks_file")
    if not settings.jwks_file.exists() or settings.jwks_file.read_text("utf-8") != public:
        settings.jwks_file.unlink(missing_ok=True)
        _write_once(settings.jwks_file, public, 0o644)


def _write_once(path: Path, text: str, permissions: int) -> None:
    """Creates the file whole or finds it; two processes starting at once agree on one content."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists():
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, permissions)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
