"""What people, and those who mean harm, put behind an option."""

from __future__ import annotations

from random import Random

NUMBERS = (
    *("0", "1", "2", "4", "0.5", "-1", "-0", "-0.0", "1e3", "1e-9", "1e200", "1e999", "-1e999"),
    *("inf", "-inf", "nan", "Infinity", "NAN", "1_000", "0x10", "1e", "٣", "½", "1,5", " 3 "),
    *("2147483647", "2147483648", "9223372036854775808", "18446744073709551616"),
    *("9" * 400, "9" * 5000, "30000", "65536", "100000000000"),
)
SIZES = (
    "0",
    "1M",
    "1G",
    "700M",
    "-1G",
    "1T",
    "inf",
    "nan",
    "9" * 400 + "G",
    "1.5G",
    "G",
    "1 G",
    "1GB",
)
TEXTS = (
    *("", " ", "-", "--", "-x", "auto", "none", "x" * 300, "x" * 5000, "a/b", "../x", "..", "."),
    *("é", "漢字" * 60, "\udc80\udcff", "a\nb", "\x1b[31mred\x1b[0m", "[bold]x[/]", "[/]", "[red"),
    *(
        "%s%n",
        "{0}",
        "$HOME",
        "`ls`",
        "a:b",
        ":",
        "a:nan",
        "b:1e999",
        "con",
        "\u202etxt",
        "(?P<",
        "[a-",
    ),
)
CHOICES = (
    *("auto", "cpu", "openvino", "tensorrt", "cuda", "fp32", "fp16", "int8", "bf16", "crop"),
    *("linear", "cosine", "bilinear", "network", "png", "jpg", "webp", "tiff", "skip", "stop"),
    *("yunet", "retinaface", "none", "uint8", "float32"),
)
MISSING = (
    *("absent.png", "absent/", "absent/deeper/x.jpg", "~nouser/x.png", "x" * 300, "漢字" * 90),
    *(
        "a\nb.png",
        "\x1b[31m.png",
        "-i",
        "--",
        "[/red].png",
        "\udcff.png",
        "nul.pth",
        "x.safetensors",
    ),
    *(
        "file:///etc/passwd",
        "http://localhost:1/x.mp4",
        "concat:a|b",
        "pipe:0",
        "cat.jpg/x",
        "a\tb",
    ),
)
# made in the folder that commands run in
PRESENT = (
    *(
        "photo.png",
        "clip.mp4",
        "photos",
        "words.txt",
        "empty",
        "pipe",
        "nowhere.png",
        "itself",
        "words.onnx",
    ),
    *("words.pth", "words.safetensors", "words.mp4", "words.parquet", "words.json"),
    *("/dev/null", "/dev/zero", "/dev/full", "/dev/stdin", "/proc/self/mem", "/dev/tty", "/", "."),
)
# everything that may be written to lies in the folder that commands run in
OUTPUTS = (
    *(
        "out",
        "out/x.png",
        "out.png",
        "out/a/b/c",
        "words.txt",
        "words.txt/x",
        "photo.png",
        "photos",
    ),
    *(
        "nowhere.png",
        "itself",
        "pipe",
        "x" * 300,
        "漢字" * 90 + ".jpg",
        "out/\udcff.png",
        "out/a\nb.png",
    ),
    *(".", "./-o.png", "out/x.mp4", "out/x.webm", "out.onnx", "out/../out2", "out/[/red].png"),
)


def draw_word(kind: str, rng: Random) -> str:
    """kind: number, size, choice, text, input, missing or output; mostly a value of it."""
    pools = {
        "number": NUMBERS,
        "size": SIZES,
        "choice": CHOICES,
        "text": TEXTS,
        "input": PRESENT + MISSING,
        "missing": MISSING,
        "output": OUTPUTS,
    }
    if kind in ("output", "missing"):
        return rng.choice(pools[kind])
    if rng.random() < 0.3:
        return rng.choice(NUMBERS + SIZES + TEXTS + CHOICES)
    return rng.choice(pools[kind])
