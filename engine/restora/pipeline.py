"""Restorer: a photo in, a restored photo out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args, overload

from restora.artifact import Io
from restora.backends import Session, choose_session
from restora.backends.choose import may_run_fp16
from restora.backends.options import PrecisionChoice
from restora.checks import check_choice
from restora.damage import DamageOptions, DamageStage
from restora.damage.open import damage_options_of, open_damage, variant_of_damage
from restora.enlarge import Enlarger
from restora.errors import OptionError, RestoraError
from restora.faces.open import face_options_of, open_faces, variant_of_faces
from restora.faces.options import FaceOptions
from restora.faces.pipeline import FaceStage
from restora.jobs.sizes import bytes_of_photo
from restora.many import OnError, restore_in_order
from restora.models import DEFAULT_MODEL, FindArtifact
from restora.models.resolve import artifact_finder
from restora.networks import Networks
from restora.options import RestoreOptions, combine_options
from restora.owner import NetworkOwner
from restora.photo_io import PhotoLike, photo_from
from restora.repairs import repair_photo
from restora.restoration import Restoration, add_faces, checked_progress, restore_aligned
from restora.settings import settings_of_stages
from restora.tiling import Progress
from restora.upsample import check_outscale


class Restorer(NetworkOwner):
    """Restore photos with one model, and their faces with another. Safe to call from several
    threads: tiles and faces of photos that are restored at the same time share batches.

    model: a name that `available_models` lists, or the path of an .onnx artifact or of a checkpoint
        (.pth, .safetensors). None: photos are enlarged by interpolation, twice unless another
        outscale is given; of use together with `faces`
    device: "auto", "cpu", "gpu", or a numbered GPU such as "gpu:1"
    precision: "auto", "fp32", "fp16", "mixed", "bf16", "int8" or "fp8"
    tile: "auto", 0 for the whole photo at once, or the largest side of a tile in pixels
    faces: True or FaceOptions to restore faces too; or a FaceStage, which is then closed together
        with the Restorer
    damage: True or DamageOptions to find and repair scratches, dust and folds before anything else
    options: RestoreOptions, for everything else; device, precision and tile may be given here too

    Checkpoints are exported once, into the model folder, which is logged; that needs
    `restora[export]`. 16-bit photos use a second artifact, opened when the first of them comes.

    After close(), which leaving a `with` block calls, restoring raises SessionError; facts such as
    `model` and `scale` stay.

    Raises OptionError for values that cannot work or contradict each other, UnknownModelError or
    MissingModelError if there is no such model, AccuracyGateError if its artifact failed its gate,
    MissingBackendError if a package that it needs is not installed.
    """

    def __init__(
        self,
        model: str | Path | None = DEFAULT_MODEL,
        *,
        device: str = "auto",
        precision: PrecisionChoice = "auto",
        tile: int | Literal["auto"] = "auto",
        faces: FaceOptions | FaceStage | bool | None = None,
        damage: DamageOptions | bool | None = None,
        options: RestoreOptions | None = None,
    ) -> None:
        chosen = combine_options(options, device=device, precision=precision, tile=tile)
        half = may_run_fp16(chosen.session_options())
        find = artifact_finder(model, chosen.denoise_strength, half=half)
        self._start(model, find, chosen, faces, damage)

    @classmethod
    def from_session(
        cls,
        session: Session,
        *,
        session_16bit: Session | None = None,
        faces: FaceOptions | FaceStage | bool | None = None,
        damage: DamageOptions | bool | None = None,
        options: RestoreOptions | None = None,
    ) -> Restorer:
        """A Restorer whose upsampler runs in a session that is open already: on a remote server,
        say, or in a test. It shares batches and is closed like any other.

        session: an upsampler for uint8 pictures; any object with the methods of Session
        session_16bit: one for float32 pictures; without it 16-bit photos raise MissingModelError
        options: how photos are cut and joined; device, backend and precision hold for the other
            networks alone

        Raises OptionError for a session that does not fit.
        """
        restorer = cls.__new__(cls)
        given: dict[Io, Session] = {"uint8": session}
        if session_16bit is not None:
            given["float32"] = session_16bit
        find = artifact_finder(None, None)
        restorer._start(None, find, options or RestoreOptions(), faces, damage, given)
        return restorer

    def _start(
        self,
        model: str | Path | None,
        find: FindArtifact,
        options: RestoreOptions,
        faces: FaceOptions | FaceStage | bool | None,
        damage: DamageOptions | bool | None,
        given: dict[Io, Session] | None = None,
    ) -> None:
        face_options, damage_options = face_options_of(faces), damage_options_of(damage)
        if face_options is not None and options.compat == "upstream":
            face_options = replace(face_options, published_paste=True)
        self.options = options
        face_batch = 1 if face_options is None else face_options.batch
        super().__init__(Networks(options, face_batch=face_batch, choose=choose_session))
        self.faces = faces if isinstance(faces, FaceStage) else None
        self.damage: DamageStage | None = None
        try:
            self._enlarger = Enlarger(
                self._networks, options, model=model, find=find, given=given or {}
            )
            if face_options is not None:
                self.faces = open_faces(face_options, find=find, open_session=self._networks.open)
            if damage_options is not None:
                self.damage = open_damage(
                    damage_options, find=find, open_session=self._networks.open
                )
        except BaseException:
            self._networks.close(finish=False)
            raise

    def variant(
        self,
        *,
        faces: FaceOptions | bool | None = None,
        damage: DamageOptions | bool | None = None,
        options: RestoreOptions | None = None,
    ) -> Restorer:
        """A Restorer with other options over the same open networks, whose batches it shares. It
        ends with this one; closing it does nothing.

        faces: False: none; FaceOptions: of the open face networks; None: as here
        damage: False: not repaired; DamageOptions: of the open networks; None: as here
        options: of how photos are cut, joined and enlarged; what networks run on stays as it is

        Raises OptionError for faces or damage that need other networks.
        """
        other = Restorer.__new__(Restorer)
        NetworkOwner.__init__(other, self._networks, owner=self)
        other.options = options or self.options
        other._enlarger = self._enlarger.with_options(other.options)
        other.faces = variant_of_faces(self.faces, faces)
        other.damage = variant_of_damage(self.damage, damage)
        return other

    @property
    def model(self) -> str:
        """The upsampler's name; "none" for interpolation."""
        return self._enlarger.model

    @property
    def scale(self) -> int:
        """The network's own enlargement; 2 for interpolation."""
        return self._enlarger.scale

    @property
    def repairs(self) -> bool:
        """Whether damage or color of a photo is changed before it is enlarged."""
        return self.damage is not None or self.options.color != "off"

    def output_settings(self) -> dict[str, object]:
        """All settings that decide the pixels of a result, for JSON: the SHA-256 of each artifact
        and the precision that it runs in, tiles, and options. Settings that change no pixel beyond
        rounding are left out: threads, backend and GPU, batches, limits.

        The first 16-bit photo, which opens a second artifact, does not change them.
        """
        enlarger, faces = self._enlarger, self.faces
        upsampler = None if enlarger.interpolates else (enlarger.source,)
        return settings_of_stages(upsampler, faces, self.damage, self._networks, self.options)

    def restore(
        self,
        photo: PhotoLike,
        *,
        outscale: float | None = None,
        progress: Progress | None = None,
        check: Callable[[], None] | None = None,
    ) -> Restoration:
        """Restore and enlarge one photo.

        photo: a Photo; its pixels, uint8 or uint16, RGB (height, width, 3) or gray; or the path of
            a picture file, its bytes, or a file object
        outscale: final enlargement; None: the network's own
        progress: called with (output pixels done, output pixels in all)
        check: called between tiles and between batches of faces; what it raises ends the call

        Raises ImageError if a file cannot be read, ImageTooLargeError if the result would pass
        max_output_pixels, OptionError if outscale leaves no pixel, ShapeError if a damage mask has
        another size, SessionError after close().
        """
        with self._networks.in_use():
            photo = photo_from(photo)
            started = time.perf_counter()
            scale = float(self.scale) if outscale is None else check_outscale(outscale)
            self._enlarger.check_size(photo, scale)
            color, faces = self.options.color, self.faces
            ready = repair_photo(photo, self.damage, color, faces, check=check)
            before = time.perf_counter()
            result = self._enlarger.enlarge(ready.photo, scale, checked_progress(progress, check))
            seconds = {**ready.seconds, "upsample": time.perf_counter() - before}
            restoration = Restoration(
                result, self.model, scale, 0.0, seconds, damage=ready.damage, color=ready.color
            )
            if faces is not None:
                restoration = add_faces(restoration, faces, ready.photo, check=check)
        return replace(restoration, elapsed_s=time.perf_counter() - started)

    @overload
    def restore_many(
        self,
        photos: Iterable[PhotoLike],
        *,
        outscale: float | None = None,
        on_error: Literal["raise"] = "raise",
    ) -> Iterator[Restoration]: ...

    @overload
    def restore_many(
        self,
        photos: Iterable[PhotoLike],
        *,
        outscale: float | None = None,
        on_error: Literal["return"],
    ) -> Iterator[Restoration | RestoraError]: ...

    def restore_many(
        self,
        photos: Iterable[PhotoLike],
        *,
        outscale: float | None = None,
        on_error: OnError = "raise",
    ) -> Iterator[Restoration | RestoraError]:
        """Restore photos as an iterator: one result per photo, in the order of the photos.

        Several photos are in progress at once and share batches, which is faster than calling
        restore() for each. They are taken from `photos`, in another thread, only as far as the
        networks have work for them and half of the free memory holds them; so `photos` may be a
        generator without end. Work begins with the first next(). To stop early, leave the loop: the
        photos in progress are finished first.

        photos: what restore() takes
        outscale: final enlargement; None: the network's own
        on_error: "raise": the first photo that fails raises its error in its turn, which ends the
            iteration. "return": the error is given in the photo's place, and the next photos follow

        Raises SessionError after close(), DeviceLostError whatever on_error is, and what `photos`
        itself raises.
        """
        check_choice("on_error", on_error, get_args(OnError))
        scale = float(self.scale) if outscale is None else check_outscale(outscale)
        self._networks.check_open()
        return restore_in_order(
            photos,
            lambda photo: self.restore(photo, outscale=scale),
            self._networks.describe,
            bytes_of=partial(
                bytes_of_photo,
                scale=self.scale,
                outscale=scale,
                pre_pad=self.options.pre_pad,
                repairs=self.repairs,
            ),
            is_closed=lambda: self._networks.is_closed,
            on_error=on_error,
        )

    def restore_aligned(self, photo: PhotoLike) -> Restoration:
        """Restore a photo that is one aligned face: the result has the face network's side.

        Raises OptionError if this Restorer was made without `faces`, and what the network raises.
        """
        with self._networks.in_use():
            if self.faces is None:
                raise OptionError("aligned faces need Restorer(..., faces=FaceOptions())")
            return restore_aligned(self.faces, photo_from(photo))
