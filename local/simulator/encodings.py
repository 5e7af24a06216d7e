"""Content codings of a body, valid and invalid ones."""

import gzip
import zlib
from collections.abc import Callable

BOMB_BYTES = 8 * 2**20  # the size of a decompressed bomb, about 8 KiB compressed


def _raw_deflate(content: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(content) + compressor.flush()


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


# Functions from a body to its Content-Encoding and the encoded body.
ENCODINGS: dict[str, Callable[[bytes], tuple[str, bytes]]] = {
    "gzip": lambda content: ("gzip", gzip.compress(content)),
    "deflate": lambda content: ("deflate", zlib.compress(content)),
    "raw_deflate": lambda content: ("deflate", _raw_deflate(content)),
    "gzip_twice": lambda content: ("gzip, gzip", gzip.compress(gzip.compress(content))),
    "unknown": lambda content: ("x-clopos", content),
    "not_gzip": lambda content: ("gzip", content),
    "not_brotli": lambda content: ("br", content),
    "garbage": lambda content: ("gzip", b"\x1f\x8b\x08\x00" + b"\xde\xad\xbe\xef" * 8),
    "gzip_truncated": lambda content: ("gzip", _half(gzip.compress(content))),
    "gzip_bad_checksum": lambda content: ("gzip", gzip.compress(content)[:-8] + b"\0" * 8),
    "bomb": lambda content: ("gzip", gzip.compress(content.ljust(BOMB_BYTES))),
}
