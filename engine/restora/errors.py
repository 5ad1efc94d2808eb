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
    ServiceError               a service does not serve a request
        RequestError           the request is malformed
        UnauthorizedError
        ForbiddenError
        NotFoundError
        ConflictError
        NotAcceptableError
        UnsupportedMediaTypeError
        UploadTimeoutError
        RateLimitError
        UnavailableError       it cannot be served now; the same request may be served later
            QueueFullError
            StartingError
            DrainingError
        AbandonedError         nobody waits for the result any more
            DeadlineExceededError
            ClientGoneError

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


class ServiceError(RestoraError):
    """A service does not serve a request."""


class RequestError(ServiceError, ValueError):
    """A request is malformed."""


class UnauthorizedError(ServiceError, PermissionError):
    """A request has no token, or one that the service does not know."""


class ForbiddenError(ServiceError, PermissionError):
    """A request comes from where the service does not take requests."""


class NotFoundError(ServiceError, LookupError):
    """There is nothing at this path, or it is gone, or it belongs to another token."""


class ConflictError(ServiceError):
    """The request does not fit the state that things are in."""


class NotAcceptableError(ServiceError, ValueError):
    """The request accepts none of the formats that the service writes."""


class UnsupportedMediaTypeError(ServiceError, ValueError):
    """The request's body is of a type that this path does not take."""


class UploadTimeoutError(ServiceError, TimeoutError):
    """The request's body arrives too slowly."""


class RateLimitError(ServiceError):
    """A token makes more requests than it may. retry_after_s: when the next one is allowed."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnavailableError(ServiceError):
    """The service cannot serve requests now. retry_after_s: when it probably can."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QueueFullError(UnavailableError):
    """As many requests wait as may wait."""


class StartingError(UnavailableError):
    """The networks are not open yet."""


class DrainingError(UnavailableError):
    """The service finishes what it has begun, and takes no new requests."""


class AbandonedError(ServiceError):
    """Nobody waits for the result any more."""


class DeadlineExceededError(AbandonedError, TimeoutError):
    """The time within which the result was wanted is over."""


class ClientGoneError(AbandonedError):
    """The client has closed its connection."""
