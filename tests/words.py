"""The words that a service without legal recognition may not use about itself, in any of our languages.

Use `reserved_words_in(text)` on everything rendered: pages, mails, API answers, packages, what a command prints.
"""

import html
import re
import unicodedata

MACHINE_TOKEN = "non_qualified"  # the mode in configuration and evidence, read by programs
RESERVED = re.compile(r"\bqualified\b|\bqualifiee?s?\b|\blre\b|lettres?\s+recommandees?\s+electroniques?")


def reserved_words_in(text: str) -> list[str]:
    """What was found, with what stands around it; compared without case, accents and entities."""
    plain = unicodedata.normalize("NFKD", html.unescape(text)).replace(MACHINE_TOKEN, "")
    plain = "".join(c for c in plain if not unicodedata.combining(c)).lower()
    return [plain[max(0, m.start() - 30) : m.end() + 30] for m in RESERVED.finditer(plain)]
