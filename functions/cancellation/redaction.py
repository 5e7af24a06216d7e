"""Hide secrets in texts that Clopos wrote."""

import json
import re
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any

PIECE_CHARS = 8  # shorter pieces also occur in ordinary words

_CHARACTER = re.compile(".", re.DOTALL)
# A character in a URL (also encoded twice), in JSON inside of a text, or in HTML.
_ESCAPED = re.compile(
    r"%(?:25)*([0-9a-f]{2})|\\u00([0-9a-f]{2})|&#x([0-9a-f]{1,2});|&#(?P<decimal>[0-9]{1,3});", re.IGNORECASE
)
_DECODED = re.compile(f"{_ESCAPED.pattern}|.", re.IGNORECASE | re.DOTALL)


def redact_fields(fields: dict[str, Any], secrets: tuple[str, ...]) -> dict[str, Any]:
    """Return fields with the secrets masked in texts; an object with a part of one becomes None."""
    redacted: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, str):
            value = redact(value, secrets)
        elif isinstance(value, dict) and redact(text := json.dumps(value), secrets) != text:
            value = None
        redacted[name] = value
    return redacted


def redact(text: str, secrets: tuple[str, ...]) -> str:
    """Return a text with every part of the secrets masked.

    Any eight characters in a row that also occur in a secret are masked, in any case or encoding: Clopos may
    repeat a token truncated, in capitals, or inside a sentence. The token that a JWT holds in its payload is
    as secret as the JWT (developer.clopos.com, authentication).
    """
    if len(text) < PIECE_CHARS:
        return text
    pieces = _pieces(secrets)
    if not _ESCAPED.search(text) and not any(piece in pieces for piece in _cut(_fold(text))):
        return text  # nearly always the case, so it has to be fast
    hidden = [False] * len(text)
    for pattern in (_CHARACTER, _DECODED):
        # One match per decoded character, with its position: "%2B" is one character at three positions.
        found = list(pattern.finditer(text))
        folded = _fold("".join(_decode(char) for char in found))
        for start, piece in enumerate(_cut(folded)):
            if piece in pieces:
                first, end = found[start].start(), found[start + PIECE_CHARS - 1].end()
                hidden[first:end] = [True] * (end - first)
    return "".join(
        "***" if hide else "".join(char for char, _ in group)
        for hide, group in groupby(zip(text, hidden, strict=True), key=itemgetter(1))
    )


def _decode(char: re.Match[str]) -> str:
    if not char.lastindex:
        return char[0]
    return chr(int(char[char.lastindex], 10 if char.lastgroup == "decimal" else 16))


@lru_cache(maxsize=4)
def _pieces(secrets: tuple[str, ...]) -> frozenset[str]:
    return frozenset(
        piece
        for secret in secrets
        for text in (secret, *_inner_tokens(secret))
        for encoded in _encodings(text)
        for piece in _cut(_fold(encoded))
    )


def _inner_tokens(secret: str) -> Iterator[str]:
    """Yield the token in the payload of a JWT."""
    for part in secret.split("."):
        try:
            token = json.loads(urlsafe_b64decode(part + "==")).get("token")
        except (ValueError, AttributeError, RecursionError):  # not a part of a JWT, or no JSON object
            continue
        if isinstance(token, str):
            yield token


def _cut(text: str) -> Iterator[str]:
    """Yield every substring of `PIECE_CHARS` characters."""
    return (text[start : start + PIECE_CHARS] for start in range(len(text) - PIECE_CHARS + 1))


def _encodings(secret: str) -> Iterator[str]:
    """Yield a secret as plain text, in hexadecimal, and in base64 at each of the three possible offsets."""
    encoded = secret.encode(errors="replace")
    yield secret
    yield encoded.hex()
    for start in range(3):
        yield b64encode(encoded[start:]).decode()
        yield urlsafe_b64encode(encoded[start:]).decode()


def _fold(text: str) -> str:
    """Return `text` in lower case, with as many characters as before."""
    if text.isascii():
        return text.lower()
    return "".join(char.lower()[:1] or char for char in text)
