"""python -m deploy.local.recipients GATEWAY: people who do what their address says. Embedded only.

Owns     what accepts@, refuses@ and mismatch@ do with a notice; when they try again, and when they give up
Rules    over HTTP only, as a person would: catcher, portal, identity provider; never the database, never a file of the
         installation. The catcher hands over their mails and no others. Idle, one request in half a minute. Where it
         is, its key with it, is in the environment (QERDS_MAIL_URL), which no other user of the machine can read
Crash    a walk under way is walked again: the portal decides a letter once
Elsewhere: which addresses these are (mail_catcher/waiting.py), the steps of a walk (recipient.py)
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from deploy.local.browser import Page, PageUnexpected, PersonBrowser
from deploy.local.recipient import Recipient, claim_link

ADDRESSEE = "angela"  # to whom letters for these addresses have to be sent (docs/client.md)
SOMEBODY_ELSE = "jean"
DECISIONS = {"accepts": "accept", "refuses": "refuse"}
WAIT_SECONDS = 30.0
CALL_SECONDS = 20.0
RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS = 0.25, 30.0
TRIES_MAX = 30  # about ten minutes; a letter that is not open yet opens within seconds
PAUSE_SECONDS_MAX = 1.0  # while something waits to be tried again
AWAY_SECONDS = 3.0  # the catcher does not answer

Mail = dict[str, Any]
Walk = Callable[[str, Mail], str]


class GivenUp(Exception):
    """Trying again would change nothing; the text says why, without a name."""


def walk(recipient: Recipient, link: str, act: str) -> str:
    """From the link to the end of what this person does; what came of it. Raises GivenUp, or what may pass."""
    if recipient.follow(link).status in (httpx.codes.NOT_FOUND, httpx.codes.GONE):
        raise GivenUp("the letter is closed")
    if act not in DECISIONS:
        return "mismatch" if _is_mismatch(recipient.identify(SOMEBODY_ELSE)) else "identified as the addressee"
    if _is_mismatch(recipient.identify(ADDRESSEE)):
        raise GivenUp("the letter is for somebody else")
    page = recipient.decide(DECISIONS[act])
    if page.status != httpx.codes.OK or "message=not_recorded" in page.url:
        raise PageUnexpected(f"the decision was not recorded ({page.status})")
    return act


def _is_mismatch(page: Page) -> bool:
    if "result=mismatch" in page.url:
        return True
    if "result=" in page.url or page.status != httpx.codes.OK:
        raise PageUnexpected(f"not identified ({page.status})")
    return False


class Recipients:
    """All of them, one mail after the other."""

    def __init__(
        self,
        catcher: httpx.Client,
        walks: Walk,
        note: Callable[[Mapping[str, object]], object],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catcher = catcher
        self._walk = walks
        self._note = note
        self._now = now
        self._tries: dict[str, tuple[int, float]] = {}  # mail: how often it was tried, when it is due again

    def turn(self) -> float:
        """One look at what waits; how many seconds to pause before the next. Raises httpx.HTTPError."""
        answer = self._catcher.get("/api/waiting", params={"wait": WAIT_SECONDS}, timeout=WAIT_SECONDS + CALL_SECONDS)
        items = answer.raise_for_status().json()["items"]
        waits = [pause for item in items if (pause := self._read(item["id"], item["act"]))]
        return min([*waits, PAUSE_SECONDS_MAX]) if waits else 0.0

    def _read(self, mail_id: str, act: str) -> float:
        """Walks for this mail if it is due; seconds until it is due again, 0 when it is put away."""
        tries, due = self._tries.get(mail_id, (0, 0.0))
        if due > self._now():
            return due - self._now()
        try:
            mail: Mail = self._catcher.get(f"/api/mails/{mail_id}").raise_for_status().json()
            outcome = self._walk(act, mail)
        except (PageUnexpected, httpx.HTTPError) as error:
            if tries + 1 < TRIES_MAX:
                pause = min(RETRY_FIRST_SECONDS * 2.0 ** min(tries, 16), RETRY_MAX_SECONDS)
                self._tries[mail_id] = (tries + 1, self._now() + pause)
                return pause
            outcome = f"given up: {type(error).__name__}"
        except GivenUp as error:
            outcome = f"given up: {error}"
        self._catcher.delete(f"/api/waiting/{mail_id}").raise_for_status()
        self._tries.pop(mail_id, None)
        self._note({"process": "recipients", "what": "read", "mail": mail_id, "act": act, "outcome": outcome})
        return 0.0


def main(gateway_url: str, catcher_url: str) -> None:
    """Until a signal ends us; a catcher that is away is waited for."""

    def note(line: Mapping[str, object]) -> None:
        print(json.dumps(line), file=sys.stderr, flush=True)

    def read(act: str, mail: Mail) -> str:
        if f"{gateway_url}/consent/" in mail["text"]:
            raise GivenUp("a request for consent is not a letter")
        with PersonBrowser() as browser:
            return walk(Recipient(browser), claim_link(mail, gateway_url), act)

    with httpx.Client(base_url=catcher_url, timeout=CALL_SECONDS, trust_env=False) as catcher:
        recipients = Recipients(catcher, read, note)
        while True:
            try:
                pause_seconds = recipients.turn()
            except httpx.HTTPError:
                pause_seconds = AWAY_SECONDS
            time.sleep(pause_seconds)


if __name__ == "__main__":
    main(sys.argv[1], os.environ["QERDS_MAIL_URL"])
