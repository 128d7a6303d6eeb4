"""Problems: how the API says no (RFC 9457), and what a person can read about it.

Owns     the exception that any handler raises, its JSON form, the language of the answer
Rules    a problem names the field (JSON pointer, or the header) and the remedy; the code is the contract, texts are
         help; nothing of what was refused is repeated in an answer but names of fields
Elsewhere: the table of codes (problem_codes.py), catching (edge.py)
"""

import json
from collections.abc import Mapping, Sequence
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from gateway.problem_codes import PROBLEMS, ProblemKind, ProblemWords
from pipeline.intake.mistakes import Mistake, summary

Language = Literal["en", "fr"]


class Problem(Exception):
    """Raised by a handler to answer with this problem; nothing was stored. extra: further members of the body."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        mistakes: tuple[Mistake, ...] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.mistakes = mistakes
        self.headers = headers or {}
        self.extra = extra or {}


def problem_of(mistakes: Sequence[Mistake]) -> Problem:
    """One problem for one or several mistakes: their common code, or the general one."""
    return Problem(*summary(mistakes))


def field_problem(code: str, pointer: str, detail: str) -> Problem:
    """The problem of a single field or header."""
    return problem_of([Mistake(code, pointer, detail)])


def language_of(request: Request) -> Language:
    """The first of our two languages that the client names; English when it names neither."""
    for part in request.headers.get("accept-language", "").split(",")[:20]:
        tag = part.split(";")[0].strip().lower()[:2]
        if tag == "fr":
            return "fr"
        if tag == "en":
            return "en"
    return "en"


def words(kind: ProblemKind, language: Language) -> ProblemWords:
    """The texts of a code in one language."""
    return kind.french if language == "fr" else kind.english


def render(problem: Problem, request: Request, request_id: str, public_url: str) -> Response:
    """The answer."""
    kind = PROBLEMS[problem.code]
    text = words(kind, language_of(request))
    body = {
        "type": f"{public_url}/v1/problems/{problem.code}",
        "title": text.title,
        "status": kind.status,
        "detail": problem.detail or text.cause,
        "code": problem.code,
        "remedy": text.remedy,
        "instance": request.url.path,
        "request_id": request_id,
        "retryable": kind.retryable,
        "errors": [{"pointer": m.pointer, "code": m.code, "detail": m.detail} for m in problem.mistakes],
        **problem.extra,
    }
    headers = {"Retry-After": "1"} if kind.retryable else {}
    content = json.dumps(body, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Response(content, kind.status, {**headers, **problem.headers}, "application/problem+json")
