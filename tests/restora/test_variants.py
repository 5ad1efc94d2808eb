"""Facts about variants of a Restorer, which share its networks, and about checks in calls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from faces_fakes import ASTRONAUT, FaceSession, FixedDetector
from fakes import NearestSession
from restora import FaceOptions, Photo
from restora.errors import OptionError, SessionError
from restora.faces import FaceRestorer
from restora.faces.pipeline import FaceStage
from restora.options import RestoreOptions
from restora.pipeline import Restorer

GRAY = Photo(np.full((320, 320, 3), 60, np.uint8))


def restorer_with_faces(faces: FaceSession | None = None) -> Restorer:
    network = FaceRestorer(faces or FaceSession())
    stage = FaceStage(FixedDetector([ASTRONAUT]), lambda _io: network, options=FaceOptions())
    return Restorer.from_session(NearestSession(), faces=stage)


def test_a_variant_shares_the_networks_and_has_its_own_options() -> None:
    session = NearestSession()
    with Restorer.from_session(session) as restorer:
        variant = restorer.variant(options=replace(restorer.options, tile=16, overlap=4))
        assert variant.session("upsampler", "uint8") is restorer.session("upsampler", "uint8")
        assert (variant.model, variant.scale) == (restorer.model, restorer.scale)
        pixels = np.zeros((40, 40, 3), np.uint8)
        assert variant.restore(pixels).photo.width == restorer.restore(pixels).photo.width == 80
        assert max(shape[1] for shape in session.shapes[:-1]) <= 16
        assert session.shapes[-1][1] == 40


def test_closing_a_variant_does_nothing_and_closing_the_restorer_ends_it() -> None:
    restorer = Restorer.from_session(NearestSession())
    variant = restorer.variant()
    variant.close()
    variant.restore(np.zeros((8, 8, 3), np.uint8))
    restorer.close()
    with pytest.raises(SessionError, match="this Restorer is closed"):
        variant.restore(np.zeros((8, 8, 3), np.uint8))


def test_a_variant_without_faces_leaves_faces_as_they_are() -> None:
    with restorer_with_faces() as restorer:
        assert len(restorer.restore(GRAY).faces) == 1
        plain = restorer.variant(faces=False).restore(GRAY)
        assert plain.faces == ()
        assert plain.face_model is None
        assert (plain.photo.pixels == 60).all()
        assert len(restorer.variant().restore(GRAY).faces) == 1


def test_a_variant_has_its_own_strength_and_choice_of_faces() -> None:
    with restorer_with_faces() as restorer:
        full = restorer.restore(GRAY).photo.pixels[250, 450, 0]
        half = restorer.variant(faces=FaceOptions(strength=0.5)).restore(GRAY).photo
        assert full > half.pixels[250, 450, 0] > 60
        none = restorer.variant(faces=FaceOptions(eye_dist_threshold=1000)).restore(GRAY)
        assert [face.status for face in none.faces] == ["skipped"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (FaceOptions(model="GFPGANv1.3"), "model of open face networks is None"),
        (FaceOptions(detector="yunet"), "detector of open face networks is 'auto'"),
        (FaceOptions(batch=3), "batch of open face networks is 8"),
        (FaceOptions(parse=True), "the face parser is not open"),
    ],
)
def test_a_variant_opens_no_other_face_networks(options: FaceOptions, message: str) -> None:
    with restorer_with_faces() as restorer, pytest.raises(OptionError, match=message):
        restorer.variant(faces=options)


def test_faces_cannot_be_added_by_a_variant() -> None:
    with Restorer.from_session(NearestSession()) as restorer:
        assert restorer.variant(faces=False).faces is None
        with pytest.raises(OptionError, match="no face networks are open"):
            restorer.variant(faces=True)


class StopError(Exception):
    """What a check raises."""


def test_a_check_ends_a_call_between_tiles() -> None:
    session = NearestSession()
    options = RestoreOptions(tile=16, overlap=4)
    calls = []

    def check() -> None:
        calls.append(len(session.shapes))
        if len(calls) == 3:
            raise StopError

    with Restorer.from_session(session, options=options) as restorer:
        with pytest.raises(StopError):
            restorer.restore(np.zeros((64, 64, 3), np.uint8), check=check)
        assert len(session.shapes) < 10
        restorer.restore(np.zeros((64, 64, 3), np.uint8))


def test_a_check_ends_a_call_before_its_faces_and_progress_is_still_told() -> None:
    faces = FaceSession()
    told: list[int] = []

    def check() -> None:
        if told:
            raise StopError

    with restorer_with_faces(faces) as restorer, pytest.raises(StopError):
        restorer.restore(GRAY, progress=lambda done, _total: told.append(done), check=check)
    assert told == [640 * 640]
    assert faces.batches == []


def test_an_open_network_is_not_opened_again(tmp_path: object) -> None:
    with Restorer(device="cpu") as restorer:
        before = len(restorer.networks)
        restorer.variant(options=replace(restorer.options, tile=64))
        assert len(restorer.networks) == before
