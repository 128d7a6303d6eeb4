"""Pages of the gateway itself: what a problem code means, for a person, in French or English.

Owns     one plain HTML form without external parts
Elsewhere: the pages of the portal
"""

from html import escape
from typing import Literal

from gateway.problem_codes import PROBLEMS, ProblemWords

LABELS = {
    "en": {
        "why": "Cause",
        "what": "What to do",
        "again": "The same request may succeed later.",
        "change": "The same request will fail again.",
        "other": "Français",
    },
    "fr": {
        "why": "Cause",
        "what": "Que faire",
        "again": "La même requête peut réussir plus tard.",
        "change": "La même requête échouera de nouveau.",
        "other": "English",
    },
}


def problem_page(code: str, language: Literal["en", "fr"]) -> str:
    """The page of one code."""
    kind = PROBLEMS[code]
    words: ProblemWords = kind.french if language == "fr" else kind.english
    labels = LABELS[language]
    other = "en" if language == "fr" else "fr"
    title = escape(f"{words.title} ({kind.status} {code})")
    return (
        f'<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title></head>\n<body>'
        f"<h1>{title}</h1>\n<h2>{labels['why']}</h2><p>{escape(words.cause)}</p>\n"
        f"<h2>{labels['what']}</h2><p>{escape(words.remedy)}</p>\n"
        f"<p>{labels['again' if kind.retryable else 'change']}</p>\n"
        f'<p><a href="/v1/problems/{code}?lang={other}" hreflang="{other}">{labels["other"]}</a></p></body></html>\n'
    )
