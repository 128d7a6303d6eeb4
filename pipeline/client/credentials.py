"""Where the verbs find whom they speak for: the environment, or the demo client of an embedded installation."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEMO_CLIENT = Path("secrets") / "demo-client.json"  # in the state directory, written by `up`
DEFAULT_STATE = Path(".qerds") / "state"
FILE_BYTES_MAX = 16 * 1024
NAMES = {"client_id": "QERDS_CLIENT_ID", "client_secret": "QERDS_CLIENT_SECRET", "base_url": "QERDS_URL"}


class CredentialsMissing(Exception):
    """Nobody to speak for; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A client and the service that knows it. is_demo: of an embedded installation on this machine."""

    base_url: str
    client_id: str
    client_secret: str
    is_demo: bool


def find_credentials(state: Path | None, environment: Mapping[str, str] = os.environ) -> Credentials:
    """The environment when it names all three, else the state directory's demo client. Raises CredentialsMissing."""
    values = {name: environment.get(variable, "") for name, variable in NAMES.items()}
    if all(values.values()):
        return Credentials(**values, is_demo=False)
    path = (state or DEFAULT_STATE) / DEMO_CLIENT
    try:
        with path.open("rb") as file:
            client = json.loads(file.read(FILE_BYTES_MAX))
        return Credentials(client["base_url"], client["client_id"], client["client_secret"], is_demo=True)
    except OSError as error:
        variables = ", ".join(NAMES.values())
        raise CredentialsMissing(
            f"cannot read {path} ({error.strerror}): start an installation with `./qerds up`, name its --state DIR, "
            f"or set {variables}"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise CredentialsMissing(f"{path} is not a client file; `qerds up` writes it anew") from error
