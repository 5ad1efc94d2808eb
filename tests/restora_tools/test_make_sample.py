"""Facts about the sample photo."""

from importlib.resources import files

import numpy as np

from restora.image import decode_photo
from restora_tools.make_sample import make_sample


def test_the_bundled_sample_is_what_its_script_makes() -> None:
    bundled = decode_photo((files("restora") / "data" / "sample.jpg").read_bytes()).pixels
    made = decode_photo(make_sample()).pixels
    # another libjpeg may round otherwise
    assert np.abs(made.astype(int) - bundled.astype(int)).mean() < 1
