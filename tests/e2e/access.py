"""A token of the demonstration sender, as any program gets one."""

import httpx

from pipeline.client.credentials import find_credentials
from tests.e2e.installation import Installation


def token(it: Installation) -> str:
    """Of the sample sender, good for ten minutes."""
    known = find_credentials(it.layout.state)
    form = {"grant_type": "client_credentials", "client_id": known.client_id, "client_secret": known.client_secret}
    answer = httpx.post(f"{known.base_url}/oauth2/token", data=form)
    return str(answer.json()["access_token"])
