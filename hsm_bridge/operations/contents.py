"""Wraps: of a content for later letters, and of a letter for its addressee.

Owns     the conditions of wrap_content and derive_wrap
Rules    a content's wrap says what the content is and until when letters may be made of it; a letter's wrap is made
         only of the wraps of exactly the contents that its context names, in its order, while each is open. The keys
         pass through memory and are dropped: no answer holds one
Elsewhere: the form of a wrap (operations), the only operation that gives a letter's keys out (recipients)
"""

from dataclasses import dataclass

from hsm_bridge import wire
from hsm_bridge.operations.evidence import DEK_BYTES, DEKS_MAX, Done, Moment, Operations, Refused, parse_context
from pipeline.formats.context import ContentContext, ContextInvalid, parse_content_context


@dataclass(frozen=True, slots=True)
class Contents:
    """The two operations, over the same token and keys as the others."""

    operations: Operations

    def wrap_content(self, item: wire.WrapContent, moment: Moment) -> Done:
        """Binds an upload's keys to what `encrypt` found it to be."""
        if len(item.keys) % DEK_BYTES or not DEK_BYTES <= len(item.keys) <= DEK_BYTES * DEKS_MAX:
            raise Refused("item_invalid", f"1 to {DEKS_MAX} keys of {DEK_BYTES} bytes")
        about = _parse(item.context)
        if about.open_until <= moment.now:
            raise Refused("content_closed", "open_until has passed")
        return self._wrapped(item.keys, item.context, moment, f"upload {about.upload}")

    def derive_wrap(self, item: wire.DeriveWrap, moment: Moment) -> Done:
        """A letter's wrap. Steps: 1 what the letter names, 2 each content is that, open, and opens, 3 the wrap."""
        about = parse_context(item.context)  # 1
        if len(item.contents) != len(about.parts):
            raise Refused("content_mismatch", f"{len(item.contents)} contents for {len(about.parts)} parts")
        keys = b"".join(
            self._keys_of(content, part, moment) for content, part in zip(item.contents, about.parts, strict=True)
        )  # 2
        if len(keys) > DEK_BYTES * DEKS_MAX:
            raise Refused("item_invalid", f"a letter has at most {DEKS_MAX} content keys")
        return self._wrapped(keys, item.context, moment, str(about.delivery))  # 3

    def _keys_of(self, content: wire.WrappedContent, part: tuple[bytes, bytes, int], moment: Moment) -> bytes:
        """Checked before it is opened: what is refused costs no use of the key."""
        about = _parse(content.context)
        if about.part != part:
            raise Refused("content_mismatch", "the letter's part is another content")
        if about.open_until <= moment.now:
            raise Refused("content_closed", f"no letter is made of this content after {about.open_until:%Y-%m-%d}")
        return self.operations.unwrap(content.key_id, content.wrapped, content.context)

    def _wrapped(self, keys: bytes, context: bytes, moment: Moment, about: str) -> Done:
        key_id, wrapped = self.operations.wrap(keys, context, moment.now)
        return Done(wire.Wrapped(key_id=key_id, wrapped=wrapped), key_id, about)


def _parse(data: bytes) -> ContentContext:
    try:
        return parse_content_context(data)
    except ContextInvalid as error:
        raise Refused("context_invalid", str(error)) from error
