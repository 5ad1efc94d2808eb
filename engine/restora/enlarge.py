"""The enlarging half of a Restorer: one upsampler for 8-bit photos, one for 16-bit photos."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from restora.artifact import Io
from restora.backends import Session
from restora.errors import (
    ImageTooLargeError,
    MissingBackendError,
    MissingModelError,
    ModelError,
    OptionError,
)
from restora.image import Photo
from restora.models import FindArtifact
from restora.networks import Networks
from restora.options import RestoreOptions
from restora.tiling import Progress
from restora.upsample import Upsampler, resize_lanczos

logger = logging.getLogger(__name__)

PLAIN_SCALE = 2  # of interpolation, as the published face script's


class Enlarger:
    """Enlarges photos with a model, with sessions that are open already, or by interpolation. Safe
    to call from several threads.

    networks: opens and owns the sessions
    model: a model for `find`; None for given sessions, or for interpolation
    given: open sessions by the type of picture that they take

    The upsampler for 8-bit photos is opened at once, the other one for the first photo that has 16
    bits, is gray or has an alpha that varies.
    """

    def __init__(
        self,
        networks: Networks,
        options: RestoreOptions,
        *,
        model: str | Path | None,
        find: FindArtifact,
        given: Mapping[Io, Session],
    ) -> None:
        self._networks = networks
        self._options = options
        self.source = model
        self._find = find
        self._upsamplers: dict[Io, Upsampler] = {}
        self._opening = threading.Lock()
        self._warned = False
        self._without_fine = False
        for io, session in given.items():
            _check_fits(session, io)
        for io, session in given.items():
            self._upsamplers[io] = self._make_upsampler(networks.adopt(session, "upsampler", io))
        if model is not None:
            self._upsampler("uint8")

    def with_options(self, options: RestoreOptions) -> Enlarger:
        """The same networks with other options for photos."""
        other = Enlarger(self._networks, options, model=self.source, find=self._find, given={})
        other._upsamplers |= {
            io: other._make_upsampler(upsampler.session)
            for io, upsampler in self._upsamplers.items()
        }
        return other

    @property
    def interpolates(self) -> bool:
        """Whether there is no network."""
        return not self._upsamplers

    @property
    def model(self) -> str:
        return "none" if self.interpolates else self._upsamplers["uint8"].session.info.model

    @property
    def scale(self) -> int:
        return PLAIN_SCALE if self.interpolates else self._upsamplers["uint8"].scale

    def enlarge(self, photo: Photo, scale: float, progress: Progress | None = None) -> Photo:
        """Raises ImageTooLargeError if the result would pass options.max_output_pixels."""
        self.check_size(photo, scale)
        if self.interpolates:
            return resize_lanczos(photo, scale)
        self._warn_of_interpolation(scale)
        io: Io = "float32" if photo.pixels.dtype == np.uint16 else "uint8"
        return self._upsampler(io).upsample(photo, outscale=scale, progress=progress)

    def _upsampler(self, io: Io) -> Upsampler:
        with self._opening:
            if io not in self._upsamplers:
                # a variant of this one may have opened it
                session = self._networks.session("upsampler", io)
                if session is None:
                    if self.source is None:
                        raise MissingModelError(
                            f"a session for {io} pictures is needed: give one as session_16bit"
                        )
                    path = self._find(self.source, io, "upsampler")
                    session = self._networks.open(path, "upsampler", io)
                self._upsamplers[io] = self._make_upsampler(session)
            return self._upsamplers[io]

    def _make_upsampler(self, session: Session) -> Upsampler:
        options = self._options
        return Upsampler(
            session,
            tiling=options.tiling_for(session),
            alpha=options.alpha,
            resize=options.resize,
            pre_pad=options.pre_pad,
            find_fine=self._find_fine if session.info.io == "uint8" else None,
        )

    def _find_fine(self) -> Session | None:
        """The network for float32 pictures, for gray pictures of 8 bits, if its results are finer.

        None, which is logged once, if there is none; and if the arithmetic is not FP32, since then
        its own error is larger than the rounding.
        """
        opened = self._networks.find("upsampler", "uint8")
        upstream = self._options.compat == "upstream"
        coarse = opened is None or (opened.arithmetic or opened.precision) != "fp32"
        if not upstream and (coarse or self._without_fine):
            return None
        try:
            return self._upsampler("float32").session
        except (ModelError, MissingBackendError) as error:
            if upstream:
                raise
            self._without_fine = True
            logger.warning(
                "gray pictures and transparency are rounded twice, which changes up to a quarter "
                "of their values by one level: %s",
                error,
            )
            return None

    def check_size(self, photo: Photo, scale: float) -> None:
        """Raise ImageTooLargeError if the result would pass options.max_output_pixels."""
        # the network's own output is held in memory too, whatever the final size
        check_output_size(
            photo.width, photo.height, max(scale, self.scale), self._options.max_output_pixels
        )

    def _warn_of_interpolation(self, scale: float) -> None:
        """Once: a network makes details only up to its own scale."""
        if scale > self.scale and not self._warned:
            self._warned = True
            logger.warning(
                "%s enlarges %d times; from there to %g times pixels are interpolated. A model for "
                "%g times gives more detail: see `restora models`",
                self.model,
                self.scale,
                scale,
                scale,
            )


def check_output_size(width: int, height: int, scale: float, most: int) -> None:
    """Raise ImageTooLargeError if a photo, enlarged `scale` times, has more than `most` pixels."""
    pixels = width * height * scale**2
    if pixels > most:
        raise ImageTooLargeError(
            f"{width} x {height} enlarged {scale:g} times is {pixels / 1e6:.0f} MP, the limit is "
            f"{most / 1e6:.0f}: raise it with max_output_pixels (--max-output-pixels)"
        )


def _check_fits(session: Session, io: Io) -> None:
    """Raise OptionError unless the object has the parts of a Session and takes such pictures."""
    missing = [name for name in ("info", "limits", "run", "close") if not hasattr(session, name)]
    if missing:
        raise OptionError(
            f"a session must have info, limits, run and close (see restora.Session), "
            f"{type(session).__name__} has no {' and no '.join(missing)}"
        )
    if session.info.io != io:
        raise OptionError(
            f"the session for {io} pictures takes {session.info.io} pictures: "
            "session takes uint8, session_16bit float32"
        )
