"""What restora-photo is told in its folder: networks, and how photos are restored."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, get_args

from restora.artifact import ArtifactInfo, Io, Kind
from restora.artifact.info import info_from_json
from restora.errors import OptionError
from restora.faces.options import FaceOptions
from restora.image import PhotoLimits
from restora.options import RestoreOptions

SETTINGS_FILE = "settings.json"
FORMAT = 1
# how photos are cut and joined; the rest of RestoreOptions chooses a runtime, which is the server's
_OF_PHOTOS = (
    "tile",
    "overlap",
    "blend",
    "published_tiles",
    "compat",
    "alpha",
    "resize",
    "pre_pad",
    "max_output_pixels",
)


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """A network on the server.

    name: of its model there
    max_batch: tiles or faces in one request
    """

    name: str
    info: ArtifactInfo
    max_batch: int

    @property
    def role(self) -> tuple[Kind, Io]:
        return self.info.kind, self.info.io


@dataclass(frozen=True, slots=True)
class PhotoSettings:
    """All settings of restora-photo.

    networks: upsamplers, the first of them for requests that name none; with faces, one face
        network for each type of picture, and a detector and a parser if they are networks
    restore: how photos are cut and joined; its tile is a number of pixels
    faces: None if faces are not restored
    equal_tiles: as in ServerOptions
    """

    networks: tuple[NetworkSettings, ...]
    restore: RestoreOptions
    faces: FaceOptions | None = None
    limits: PhotoLimits = field(default_factory=PhotoLimits)
    equal_tiles: bool = False

    def upsamplers(self) -> tuple[str, ...]:
        """Names of those for 8-bit photos, as requests give them."""
        return tuple(one.name for one in self.networks if one.role == ("upsampler", "uint8"))

    def find(self, kind: Kind, io: Io) -> NetworkSettings | None:
        """The first network of a kind."""
        return next((one for one in self.networks if one.role == (kind, io)), None)

    def sixteen_bit_of(self, upsampler: NetworkSettings) -> NetworkSettings | None:
        """The network with the same weights for 16-bit photos, in the same precision if there is
        one."""
        same = [
            one
            for one in self.networks
            if one.role == ("upsampler", "float32")
            and one.info.weights_sha256 == upsampler.info.weights_sha256
        ]
        same.sort(key=lambda one: one.info.precision != upsampler.info.precision)
        return same[0] if same else None


def settings_to_json(settings: PhotoSettings) -> str:
    """For people, who may edit it, and for settings_from_json."""
    faces = settings.faces
    return json.dumps(
        {
            "format": FORMAT,
            "networks": [
                {
                    "name": one.name,
                    "max_batch": one.max_batch,
                    "info": json.loads(one.info.to_json()),
                }
                for one in settings.networks
            ],
            "restore": {name: getattr(settings.restore, name) for name in _OF_PHOTOS},
            "faces": None if faces is None else {**asdict(faces), "model": None},
            "limits": asdict(settings.limits),
            "equal_tiles": settings.equal_tiles,
        },
        indent=1,
    )


def settings_from_json(text: str) -> PhotoSettings:
    """Raises OptionError, which names the problem, unless settings_to_json wrote this or something
    like it."""
    try:
        values = json.loads(text)
        if values["format"] != FORMAT:
            raise OptionError(
                f"this restora reads format {FORMAT}, the file has {values['format']!r}: export "
                "the repository again"
            )
        settings = PhotoSettings(
            tuple(_network_from(one) for one in values["networks"]),
            RestoreOptions(**values["restore"]),
            None if values["faces"] is None else FaceOptions(**values["faces"]),
            PhotoLimits(**values["limits"]),
            bool(values["equal_tiles"]),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise OptionError(f"{SETTINGS_FILE} of restora-photo cannot be used: {error!r}") from error
    if not settings.upsamplers():
        raise OptionError(f"{SETTINGS_FILE} of restora-photo must name an upsampler")
    return settings


def photo_options(options: RestoreOptions, *, tile: int) -> RestoreOptions:
    """The options with a tile in pixels. Raises OptionError if they choose a runtime or a whole
    photo: a server runs what it is configured for, in tiles."""
    plain = RestoreOptions(**{name: getattr(options, name) for name in _OF_PHOTOS})
    chosen = {
        name: value
        for name, value in asdict(options).items()
        if value != getattr(plain, name) and name not in ("memory", "denoise_strength")
    }
    if chosen:
        raise OptionError(
            f"{', '.join(chosen)} cannot be given for a server: its configuration decides on "
            "backend, precision and device"
        )
    if options.tile == 0:
        raise OptionError("a server needs tiles of a limited size: tile must not be 0")
    return replace(plain, tile=tile if options.tile == "auto" else options.tile)


def _network_from(values: dict[str, Any]) -> NetworkSettings:
    info = info_from_json(json.dumps(values["info"]))
    if info.kind not in get_args(Kind):
        raise OptionError(f"a network has the kind {info.kind!r}")
    return NetworkSettings(str(values["name"]), info, int(values["max_batch"]))
