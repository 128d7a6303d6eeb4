"""What may be written of an exception: its type, its places, and its text if it is one of ours. Decided here only.

Rules    a text is written of a class below QerdsError and of no other: those carry ids, kinds, counts and codes, which
         tests/tidy/test_texts_of_errors.py holds. A builtin or a library quotes what it was given, and so may a parser
         of ours (a ValueError for whoever sent the input): of these the type and the places are written.
         Places are files, lines and functions of code; source lines and values never are
Elsewhere: where the lines go (recorder.py), exceptions that nobody caught (escapes.py)
"""

import traceback

from pipeline.errors import QerdsError

TEXT_CHARACTERS_MAX = 300
PLACES_MAX = 6  # of the way that an exception took, the last ones
REASON_PLACES_MAX = 3  # in a reason, which has 500 characters
BEHIND_MAX = 6


def text_of(error: BaseException) -> str:
    """The text of one of ours; nothing of any other."""
    return str(error)[:TEXT_CHARACTERS_MAX] if isinstance(error, QerdsError) else ""


def places_of(error: BaseException) -> list[str]:
    """`file:line in function`, the place where it was raised last."""
    frames = traceback.extract_tb(error.__traceback__)[-PLACES_MAX:]
    return [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} in {frame.name}" for frame in frames]


def reason_of(error: BaseException) -> str:
    """One line for a dead letter or a retry: the text of one of ours, else type and places. Of a group, its first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return text_of(error) or _named(error)


def behind(error: BaseException) -> list[str]:
    """What a group holds, and what an exception was raised from or over: types, with the text of ours or the places."""
    causes: list[BaseException] = []
    near = _next(error)
    while near and len(causes) < BEHIND_MAX:
        causes += near
        near = [further for cause in near for further in _next(cause)]
    return [
        f"{type(cause).__name__}: {text}" if (text := text_of(cause)) else _named(cause)
        for cause in causes[:BEHIND_MAX]
    ]


def _named(error: BaseException) -> str:
    """The innermost place first: a reason is cut at its end."""
    places = " < ".join(reversed(places_of(error)[-REASON_PLACES_MAX:]))
    return f"{type(error).__name__} at {places}" if places else type(error).__name__


def _next(error: BaseException) -> list[BaseException]:
    held = list(error.exceptions) if isinstance(error, BaseExceptionGroup) else []
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return held if cause is None else [*held, cause]
