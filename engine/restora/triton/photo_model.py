"""restora-photo in a repository: a model in Python that takes the bytes of photos."""

from __future__ import annotations

from restora.triton.config_text import Message, Word
from restora.triton.network_config import queue_config
from restora.triton.options import ServerOptions

PHOTO_MODEL = "restora-photo"
PHOTO, RESTORED, FACTS = "photo", "restored", "facts"

# the folder of a repository may be older than the package: the code stays in the package
PROGRAM = '''"""Written by `restora triton export`; needs the package restora in Triton's Python."""

from restora.triton.server import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''


def photo_config(options: ServerOptions) -> Message:
    """The fields of config.pbtxt for restora-photo: one photo a request, several processes.

    Decoding, cutting and joining run on the CPU, whatever the networks run on.
    """
    text = Word("TYPE_STRING")
    return {
        "name": PHOTO_MODEL,
        "backend": "python",
        "max_batch_size": 1,
        "input": [{"name": PHOTO, "data_type": text, "dims": [1]}],
        "output": [
            {"name": RESTORED, "data_type": text, "dims": [1]},
            {"name": FACTS, "data_type": text, "dims": [1]},
        ],
        **queue_config(options.queue_size, options.queue_timeout_s),
        "instance_group": [{"kind": Word("KIND_CPU"), "count": options.photos}],
    }
