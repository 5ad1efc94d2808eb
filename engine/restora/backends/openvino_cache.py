"""The folder in which OpenVINO caches compiled networks."""

import logging
import os
from pathlib import Path

from restora.cache_folder import cache_folder, check_own_folder
from restora.errors import UnsafePathError

logger = logging.getLogger(__name__)


def make_cache_folder() -> Path | None:
    """Create the folder in which OpenVINO caches compiled networks for faster starts.

    Returns None, and logs why, if there is no home directory, if the folder cannot be written, or
    if other users can write to it: compiled networks are executable code.
    """
    folder = cache_folder("openvino")
    if folder is None:
        logger.info("no OpenVINO cache: the user has no home directory")
        return None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_own_folder(folder, purpose="the OpenVINO cache")
    except UnsafePathError as error:
        logger.warning("there is no OpenVINO cache, so starts are slower: %s", error)
        return None
    except OSError as error:
        logger.info("no OpenVINO cache: %s", error)
        return None
    if not os.access(folder, os.W_OK):
        logger.info("no OpenVINO cache: %s cannot be written", folder)
        return None
    return folder
