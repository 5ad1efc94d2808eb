"""Read Qt resource files (.rcc), in which programs keep pictures.

The format, as Qt's resource compiler writes it: a header of offsets; a tree of nodes with a name
each; names in UTF-16; and the data of files behind their lengths. All numbers are big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_MAGIC = b"qres"
_HEADER = struct.Struct(">4s4I")
_NODE = struct.Struct(">IH")  # offset of the name, flags
_CHILDREN = struct.Struct(">II")  # how many, index of the first
_DATA = struct.Struct(">I")  # offset, behind country and language
_COMPRESSED, _FOLDER, _ZSTD = 1, 2, 4
_NODE_BYTES = {1: 14, 2: 22, 3: 22}  # since version 2 with a time


def iter_resources(content: bytes) -> Iterator[tuple[str, bytes]]:
    """The path of each uncompressed file, like "/game/a.webp", and its bytes.

    Raises ValueError for what is no resource file.
    """
    if len(content) < _HEADER.size or not content.startswith(_MAGIC):
        raise ValueError(f"a Qt resource file must begin with {_MAGIC.decode()}")
    _, version, tree, data, names = _HEADER.unpack_from(content)
    if version not in _NODE_BYTES:
        raise ValueError(f"the version of a Qt resource file must be 1 to 3, it is {version}")

    def read_name(offset: int) -> str:
        (length,) = struct.unpack_from(">H", content, names + offset)
        start = names + offset + 6  # behind the length and a hash
        return content[start : start + 2 * length].decode("utf-16-be")

    def walk(index: int, folder: str) -> Iterator[tuple[str, bytes]]:
        place = tree + index * _NODE_BYTES[version]
        name, flags = _NODE.unpack_from(content, place)
        path = f"{folder}/{read_name(name)}" if index else folder
        if flags & _FOLDER:
            count, first = _CHILDREN.unpack_from(content, place + _NODE.size)
            for child in range(first, first + count):
                yield from walk(child, path)
        elif not flags & (_COMPRESSED | _ZSTD):
            (offset,) = _DATA.unpack_from(content, place + _NODE.size + 4)
            (length,) = struct.unpack_from(">I", content, data + offset)
            start = data + offset + 4
            yield path, content[start : start + length]

    try:
        yield from walk(0, "")
    except (struct.error, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"the Qt resource file is damaged: {error}") from error
