# NVIDIA Triton Inference Server with restora in its Python, which the model restora-photo needs.
#
#   docker build -f deploy/triton.Dockerfile -t restora-triton .
#   docker run --rm --gpus all --shm-size 1g -v "$PWD/repository:/repository:ro" \
#       -p 8000:8000 -p 8001:8001 restora-triton tritonserver --model-repository=/repository
#
# `restora triton export` writes the repository.
ARG TRITON=25.08-py3

FROM python:3.12-slim-bookworm AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY engine engine
COPY export export
COPY calibration calibration
COPY training training
COPY benchmarks benchmarks
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM nvcr.io/nvidia/tritonserver:${TRITON}
# into the system's Python: that is what Triton runs its Python models with
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    python3 -m pip install --no-cache-dir --break-system-packages /wheels/restora-*.whl \
    && install -d -m 777 /engines
