"""The open models of a service, and variants of them for single requests."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import get_args

import numpy as np

from restora.artifact import Io, Kind
from restora.backends import Session
from restora.errors import MissingModelError, OptionError, UnknownModelError
from restora.faces.options import FaceOptions
from restora.image.isolated import start_decoder
from restora.networks import OpenNetwork
from restora.pipeline import Restorer
from restora.serve.options import ServeOptions
from restora.serve.parameters import PhotoParameters

_PICTURES: tuple[Kind, ...] = ("upsampler", "face")
_MOST_VARIANTS = 64
_WARM_SIDE = 64
# small tiles of a large photo let small photos in between; larger ones save less than a fifth
_LARGE_TILE, _LARGE_TILE_OVERLAPS = 256, 12
TILES_OF_LARGE = 8
_ANY_PX = 1 << 50


class ModelPool:
    """The Restorers of a service: one for each model, with the same face networks."""

    def __init__(self, options: ServeOptions) -> None:
        self._options = options
        self._restorers: dict[str, Restorer] = {}
        self._variants: dict[object, Restorer] = {}
        self._making = threading.Lock()

    def open(self) -> None:
        """Open and run every network once. Takes seconds, or minutes where plans are built.

        Raises what Restorer raises, and OptionError for two models of one name.
        """
        options = replace(self._options.restore, sharing="fair")
        faces = None
        for model in self._options.models:
            restorer = Restorer(model, options=options, faces=faces or self._options.faces)
            if restorer.model in self._restorers:
                restorer.close()
                raise OptionError(f"the model {restorer.model} is given twice")
            self._restorers[restorer.model] = restorer
            faces = restorer.faces
        start_decoder()
        for restorer in self._restorers.values():
            restorer.restore(np.zeros((_WARM_SIDE, _WARM_SIDE, 3), np.uint8))
        face = self.get().session("face", "uint8")
        if face is not None and face.info.side is not None:
            face.run(np.zeros((1, face.info.side, face.info.side, 3), np.uint8))

    def adopt(self, restorer: Restorer) -> None:
        """Take over a Restorer that is open already."""
        self._restorers[restorer.model] = restorer

    def close(self) -> None:
        for restorer in self._restorers.values():
            restorer.close()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._restorers)

    @property
    def default(self) -> str:
        return next(iter(self._restorers))

    @property
    def has_faces(self) -> bool:
        return any(restorer.faces is not None for restorer in self._restorers.values())

    def get(self, name: str | None = None) -> Restorer:
        """Raises UnknownModelError for a model that is not open."""
        if name is None:
            return next(iter(self._restorers.values()))
        if name not in self._restorers:
            raise UnknownModelError(
                f"the service has no model {name[:80]!r}; it has {', '.join(self._restorers)}"
            )
        return self._restorers[name]

    @property
    def restorers(self) -> tuple[Restorer, ...]:
        return tuple(self._restorers.values())

    def networks(self) -> dict[str, Session]:
        """The open networks that make pictures, by name; those for float32 pictures are called
        NAME.float32."""
        found: dict[str, Session] = {}
        for restorer in self._restorers.values():
            for kind in _PICTURES:
                for io in get_args(Io):
                    session = restorer.session(kind, io)
                    if session is not None:
                        suffix = ".float32" if io == "float32" else ""
                        found.setdefault(session.info.model + suffix, session)
        return found

    def upsampler(self, restorer: Restorer) -> OpenNetwork | None:
        """Facts about the network that enlarges; None for interpolation."""
        return next((n for n in restorer.networks if n.info.kind == "upsampler"), None)

    def network(self, name: str) -> OpenNetwork | None:
        """Facts about a network for 8-bit pictures, by its name."""
        for restorer in self._restorers.values():
            for network in restorer.networks:
                if network.info.model == name and network.info.io == "uint8":
                    return network
        return None

    def tile_px(self) -> int:
        """Pixels that the first model's network computes at once: photos of fewer are small."""
        upsampler = self.upsampler(self.get())
        if upsampler is None or upsampler.tiling is None or not upsampler.tiling.largest_px:
            return _ANY_PX
        largest = upsampler.tiling.largest_px
        return largest * upsampler.batch * upsampler.limits.best_calls

    def variant(self, parameters: PhotoParameters, *, large: bool) -> Restorer:
        """The Restorer for one request.

        large: whether the photo is cut into small tiles, so that small photos get in between

        Raises UnknownModelError; MissingModelError if faces are asked for and no face model is
        open.
        """
        restorer = self.get(parameters.model)
        wanted = parameters.faces
        if (wanted or parameters.aligned) and restorer.faces is None:
            raise MissingModelError("this service restores no faces: it has no face model")
        faces: FaceOptions | bool = False
        if restorer.faces is not None and wanted is not False:
            faces = replace(
                restorer.faces.options,
                strength=parameters.face_strength,
                eye_dist_threshold=parameters.eye_dist_threshold,
                only_center_face=parameters.only_center_face,
            )
        options = replace(restorer.options, alpha=parameters.alpha_upsampler)
        upsampler = self.upsampler(restorer)
        if large and upsampler is not None and self._may_cut(restorer, upsampler):
            side = max(_LARGE_TILE, _LARGE_TILE_OVERLAPS * upsampler.info.overlap_px)
            options = replace(options, tile=side)
        key = (restorer.model, faces, options)
        with self._making:
            if key not in self._variants:
                if len(self._variants) >= _MOST_VARIANTS:
                    del self._variants[next(iter(self._variants))]
                self._variants[key] = restorer.variant(faces=faces, options=options)
            return self._variants[key]

    def _may_cut(self, restorer: Restorer, upsampler: OpenNetwork) -> bool:
        """Whether the tile size is free to choose, and small tiles would not cost full batches."""
        chosen = restorer.options.tile == "auto" and not restorer.options.published_tiles
        fixed = upsampler.info.side is not None or upsampler.limits.fixed_tile is not None
        return chosen and not fixed and upsampler.limits.best_batch == 1
