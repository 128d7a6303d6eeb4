"""A recipient, as a person would act: read the mail, follow its link, identify, decide, download.

Owns     the walk through mail catcher, portal and identity provider over HTTP alone; used by `qerds demo` and by tests
Rules    never the database, never a file of the installation
Elsewhere: printing (demo.py), the sender's side (pipeline/client)
"""

import time
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx

from deploy.local.browser import Page, PageUnexpected, PersonBrowser

POLL_SECONDS = 0.1
WAIT_SECONDS = 60.0


class NothingCame(Exception):
    """What was waited for did not come."""


def wait_for(name: str, look: Callable[[], object], seconds: float = WAIT_SECONDS) -> object:
    """The first answer of `look` that is something; raises NothingCame."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = look()
        if answer:
            return answer
        time.sleep(POLL_SECONDS)
    raise NothingCame(f"waited {seconds:.0f} s for {name}")


def mails_to(catcher_url: str, address: str) -> list[dict[str, object]]:
    """Every caught mail to one address, newest first, with text and links."""
    with httpx.Client(base_url=catcher_url, timeout=WAIT_SECONDS) as http:
        items = http.get("/api/mails").json()["items"]
        return [http.get(f"/api/mails/{item['id']}").json() for item in items if address in str(item["to"])]


def claim_link(mail: dict[str, object], gateway_url: str) -> str:
    """The one link of a notice."""
    for word in str(mail["text"]).split():
        if word.startswith(gateway_url + "/c/"):
            return word
    raise PageUnexpected("the mail has no claim link")


class Recipient:
    """One person with one browser."""

    def __init__(self, browser: PersonBrowser) -> None:
        self.browser = browser
        self.letter = ""

    def follow(self, link: str) -> Page:
        """Open the link of the mail: the landing page, which shows no power."""
        page = self.browser.get(link)
        self.letter = page.url.split("?")[0]
        return page

    def identify(self, person: str, attack: str = "none", acr: str = "eidas2") -> Page:
        """Through the identity wall, as `person` (angela, jean, fatima, maria)."""
        wall = self.browser.get(f"{self.letter}/identity")
        picker = self.browser.submit(wall, wall.form("/identity"))
        if urlsplit(picker.url).path != "/authorize":
            raise PageUnexpected(f"no identity provider behind {picker.url} ({picker.status})")
        return self.browser.submit(picker, picker.form("/interaction"), person=person, attack=attack, acr=acr)

    def decide(self, act: str) -> Page:
        """Accept or refuse, with the confirmation."""
        confirm = self.browser.get(f"{self.letter}/{act}")
        return self.browser.submit(confirm, confirm.form(f"/{act}"), understood="yes")

    def accepted(self) -> Page:
        """The page with the documents, once both proofs are sealed and stamped."""
        page = wait_for("the accepted page", lambda: self._with_documents(self.browser.get(self.letter)))
        if not isinstance(page, Page):
            raise NothingCame("the accepted page")
        return page

    def _with_documents(self, page: Page) -> Page | None:
        return page if any("/documents/" in link for link in page.links) else None

    def download(self, page: Page) -> list[bytes]:
        """Every document, whole."""
        addresses = [page.link(link) for link in page.links if "/documents/" in link]
        return [self.browser.get(address).body for address in addresses]
