"""Mutations of checkpoints: members of zip files, opcodes of pickles, heads of safetensors."""

from __future__ import annotations

import io
import itertools
import pickletools
import re
import struct
import warnings
import zipfile
from random import Random

from fuzz.json_text import mutate_json
from fuzz.mutate import draw_integer, mutate_bytes


def mutate_zip(data: bytes, rng: Random) -> bytes:
    """Members changed, and the archive put together again with right checksums; or its directory.

    Raises ValueError if it is no archive.
    """
    if rng.random() < 0.25:
        return _mutate_directory(data, rng)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except Exception as error:
        raise ValueError("no archive") from error
    if not members:
        raise ValueError("no members")
    compression = zipfile.ZIP_DEFLATED if rng.random() < 0.1 else zipfile.ZIP_STORED
    pickles = [index for index, (name, _) in enumerate(members) if name.endswith(".pkl")]
    place = rng.choice(pickles) if pickles and rng.random() < 0.7 else rng.randrange(len(members))
    name, body = members[place]
    what = rng.randrange(12)
    if what == 0:
        del members[place]
    elif what == 1:
        members.append((name, mutate_bytes(body, rng)))
    elif what == 2:
        other = rng.choice(("../x", "/etc/passwd", "", "x" * 300, "archive/data/99", name + "0"))
        members[place] = (other, body)
    elif what == 3:
        members[place] = (name, bytes(rng.choice((0, 1, 1000, 4_000_000))))
        compression = zipfile.ZIP_DEFLATED
    elif name.endswith(".pkl"):
        members[place] = (name, mutate_pickle(body, rng))
    else:
        members[place] = (name, mutate_bytes(body, rng))
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", compression) as archive:
        warnings.simplefilter("ignore")  # of names that come twice
        for name, body in members:
            archive.writestr(zipfile.ZipInfo(name), body, compression)
    return stream.getvalue()


def mutate_pickle(body: bytes, rng: Random) -> bytes:
    """An integer, a string or an opcode of it; what cannot be taken apart is mutated as bytes."""
    try:
        parts = [(place, code, value) for code, value, place in pickletools.genops(body)]
    except Exception:  # noqa: BLE001  # it raises whatever it stumbles over
        return mutate_bytes(body, rng)
    starts = [place for place, _, _ in parts if place is not None] + [len(body)]
    pieces = [body[start:end] for start, end in itertools.pairwise(starts)]
    what = rng.randrange(8)
    index = rng.randrange(len(pieces))
    if what < 4:
        numbers = [
            at for at, (_, code, _) in enumerate(parts) if code.name.startswith(("BININT", "LONG"))
        ]
        if numbers:
            pieces[rng.choice(numbers)] = _integer(rng)
    elif what < 6:
        words = [at for at, (_, code, value) in enumerate(parts) if isinstance(value, str)]
        if words:
            at = rng.choice(words)
            if parts[at][1].name in ("BINUNICODE", "SHORT_BINUNICODE"):
                pieces[at] = _unicode(_rename(str(parts[at][2]), rng))
            elif parts[at][1].name == "GLOBAL":
                pieces[at] = b"c" + rng.choice(_GLOBALS) + b"\n"
    elif what == 6:
        pieces[index : index + 1] = [pieces[index]] * rng.choice((0, 2, 20))
    else:
        pieces[index] = rng.choice(pieces)
    return b"".join(pieces)


def mutate_safetensors(data: bytes, rng: Random) -> bytes:
    """The head's values, or its length. Raises ValueError if there is no head."""
    if len(data) < 10:
        raise ValueError("no head")
    (length,) = struct.unpack("<Q", data[:8])
    if length > len(data) - 8:
        raise ValueError("no head")
    head, body = data[8 : 8 + length], data[8 + length :]
    what = rng.randrange(6)
    if what == 0:
        return struct.pack("<Q", draw_integer(rng, 8)) + head + body
    if what == 1:
        return data[: 8 + length] + mutate_bytes(body, rng)
    if what == 2:
        kind = rng.choice((b"BF16", b"F64", b"I8", b"BOOL", b"U64", b"F8_E4M3", b"C64", b"x"))
        head = re.sub(rb"F32", kind, head, count=rng.choice((0, 1)))
    elif what == 3:
        words = re.findall(rb'"([a-z_0-9.]+\.(?:weight|bias))"', head)
        if words:
            word = rng.choice(words)
            head = head.replace(word, _rename(word.decode(), rng).encode("utf-8", "replace"), 1)
    else:
        head = mutate_json(head, rng)
    return struct.pack("<Q", len(head)) + head + body


_GLOBALS = (
    *(b"os\nsystem", b"builtins\neval", b"torch\nDoubleStorage", b"torch\nLongStorage"),
    *(b"torch\nBFloat16Storage", b"torch\nQUInt8Storage", b"torch\nComplexFloatStorage"),
    *(b"torch._utils\n_rebuild_sparse_tensor", b"torch._utils\n_rebuild_qtensor"),
    *(b"torch._utils\n_rebuild_meta_tensor_no_storage", b"torch._utils\n_rebuild_parameter"),
    *(b"torch\nSize", b"torch\nTensor", b"torch.nn.parameter\nParameter", b"collections\nCounter"),
)


def _mutate_directory(data: bytes, rng: Random) -> bytes:
    """A field of a local or central head: sizes, offsets, the kind of compression."""
    heads = [
        match.start() for match in re.finditer(rb"PK(?:\x01\x02|\x03\x04|\x05\x06|\x06\x06)", data)
    ]
    if not heads:
        raise ValueError("no heads")
    place = rng.choice(heads) + rng.choice((4, 6, 8, 10, 14, 16, 18, 20, 22, 24, 26, 28, 30, 42))
    size = rng.choice((2, 4))
    return data[:place] + draw_integer(rng, size).to_bytes(size, "little") + data[place + size :]


def _integer(rng: Random) -> bytes:
    value = draw_integer(rng, rng.choice((1, 2, 4, 8)))
    value = -value if rng.random() < 0.2 else value
    if 0 <= value < 256 and rng.random() < 0.5:
        return b"K" + bytes([value])
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    packed = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(packed)]) + packed


def _rename(word: str, rng: Random) -> str:
    """A key of a network, with another number or name in it."""
    numbers = list(re.finditer(r"\d+", word))
    if numbers and rng.random() < 0.6:
        number = rng.choice(numbers)
        new = rng.choice(
            ("0", "1", "2", "7", "63", "1000", "2000000000", "9" * 5000, "-1", "", "x")
        )
        return word[: number.start()] + new + word[number.end() :]
    return rng.choice(
        (word + ".weight", "module." + word, "body.99999.weight", "", "params", "é\n", "k" * 5000,
         "conv_first.weight", "model.0.weight", "RRDB_trunk.0.RDB1.conv1.weight", "meta", "cuda:0")
    )  # fmt: skip


def _unicode(text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return b"X" + struct.pack("<I", len(data)) + data
