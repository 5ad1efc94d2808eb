"""Every error that restora raises on purpose.

RestoraError
    ShapeError                 an array is laid out otherwise than asked
    OptionError                an option has a value that cannot work
    ImageError                 one picture cannot be read
        UnknownFormatError
        UnsupportedImageError
        TruncatedImageError
        ImageTooLargeError
        FileTooLargeError
        MemoryLimitError
        DecodeTimeoutError
        AnimatedImageError
        NotAFileError
    OutputError                a result cannot be written
        DiskFullError
        UnsafePathError
    ModelError                 a model cannot be had or used
        UnknownModelError
        MissingModelError
        ChecksumError
        DownloadError
        CheckpointError
        ArtifactError
            AccuracyGateError
                RefusedPlanError  a plan that was built gives wrong pictures
    VideoError                 a video cannot be read, or holds no video
    FaceError                  a face cannot be found, aligned or restored
    DecoderProcessError        no process that decodes pictures can be started
    MissingBackendError        a package that this needs is not installed
    BuildError                 TensorRT cannot build a plan
        BuildCanceledError
    PlanError                  a plan cannot be used
    SessionError               the runtime failed on an input
        NonFiniteOutputError
        DeviceMemoryError      the GPU's memory is full; smaller tiles may fit
        HostMemoryError        no host memory is left that a GPU can access
        DeviceLostError        the GPU cannot be used any more by this process

Most also subclass the built-in type that a caller would expect: ValueError, OSError, LookupError,
ImportError or RuntimeError. RestoraError and ModelError are plain.
"""


class RestoraError(Exception):
    """Base of all errors raised on purpose."""


class ShapeError(RestoraError, ValueError):
    """An array's shape or dtype is not what the function takes."""


class OptionError(RestoraError, ValueError):
    """An option's value cannot work."""


class ImageError(RestoraError, ValueError):
    """One picture cannot be read."""


class UnknownFormatError(ImageError):
    """The bytes are none of the picture formats that restora reads."""


class UnsupportedImageError(ImageError):
    """The format is known, but this kind of picture in it is not supported."""


class TruncatedImageError(ImageError):
    """The file ends early or is damaged."""


class ImageTooLargeError(ImageError):
    """The picture, or its result, has more pixels than the limit."""


class MemoryLimitError(ImageError):
    """Restoring the picture would take more memory than is allowed."""


class FileTooLargeError(ImageError):
    """The file has more bytes than the limit."""


class DecodeTimeoutError(ImageError):
    """Decoding the picture takes longer than is allowed."""


class AnimatedImageError(ImageError):
    """The file holds several frames or pages."""


class NotAFileError(ImageError):
    """The path is a pipe, a device, a socket or a folder."""


class DecoderProcessError(RestoraError, OSError):
    """No process that decodes pictures can be started."""


class VideoError(RestoraError, ValueError):
    """A video cannot be read, or holds no video."""


class FaceError(RestoraError, ValueError):
    """A face, or a photo's faces, cannot be found, aligned or restored."""


class BuildError(RestoraError, RuntimeError):
    """TensorRT cannot build a plan. final: another try would not help."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class BuildCanceledError(BuildError):
    """A build was canceled."""


class PlanError(RestoraError, RuntimeError):
    """A TensorRT plan is damaged, stale, of another machine, or failed its accuracy gate."""


class OutputError(RestoraError, OSError):
    """A result cannot be written."""


class DiskFullError(OutputError):
    """No space is left for a result."""


class UnsafePathError(OutputError):
    """Writing there would leave the output folder or go through a link."""


class ModelError(RestoraError):
    """A model cannot be had or used."""


class UnknownModelError(ModelError, LookupError):
    """No model has this name."""


class MissingModelError(ModelError, FileNotFoundError):
    """The model is known, but its file is not on this machine."""


class ChecksumError(ModelError, ValueError):
    """A file's SHA-256 is not the one on record."""


class DownloadError(ModelError, ConnectionError):
    """A model file could not be downloaded."""


class CheckpointError(ModelError, ValueError):
    """A checkpoint cannot be read or is of no known architecture."""


class ArtifactError(ModelError, ValueError):
    """An ONNX file is not an artifact that this runtime can use."""


class AccuracyGateError(ArtifactError):
    """An artifact is further from its PyTorch reference than its gate allows."""


class RefusedPlanError(AccuracyGateError):
    """A plan that was built fails its gate or gives NaN: built again, it would do so again."""


class MissingBackendError(RestoraError, ImportError):
    """A package that this needs is not installed."""


class SessionError(RestoraError, RuntimeError):
    """The runtime failed while running a model."""


class NonFiniteOutputError(SessionError):
    """A model's output holds NaN or Inf."""


class DeviceMemoryError(SessionError, MemoryError):
    """The GPU's memory is full. Smaller tiles may fit."""


class HostMemoryError(SessionError, MemoryError):
    """No host memory is left that a GPU can access (pinned memory)."""


class DeviceLostError(SessionError):
    """The GPU failed in a way that ends its use by this process: start a new one."""
