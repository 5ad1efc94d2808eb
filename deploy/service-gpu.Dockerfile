# `restora serve` on a data-center GPU: as service.Dockerfile, with TensorRT and ONNX Runtime for CUDA.
#
#   docker build -f deploy/service-gpu.Dockerfile -t restora-serve-gpu .
#   docker run --rm --init --gpus all -p 8000:8000 -v restora-plans:/plans \
#       -v "$PWD/tokens:/run/secrets/restora-tokens:ro" restora-serve-gpu
#
# The driver comes from the host, through the NVIDIA container toolkit. Build the engines into the
# volume first, or the first start takes minutes: `docker run ... restora-serve-gpu build MODEL`.
# CUDA and EXTRAS must have one major version: 12.6.3 and gpu-cu12, or 13.0.1 and gpu-cu13.
ARG CUDA=12.6.3
ARG UBUNTU=24.04
ARG EXTRAS=serve,gpu-cu12

# PyCUDA comes as source: compiled here, where the headers are, and carried over as a wheel
FROM nvidia/cuda:${CUDA}-devel-ubuntu${UBUNTU} AS wheels
ARG EXTRAS
RUN apt-get update && apt-get install -y --no-install-recommends python3-dev python3-pip g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY engine engine
COPY export export
COPY calibration calibration
COPY training training
COPY benchmarks benchmarks
RUN pip wheel --no-cache-dir --wheel-dir /wheels --extra-index-url https://pypi.nvidia.com \
    ".[${EXTRAS}]"

FROM nvidia/cuda:${CUDA}-cudnn-runtime-ubuntu${UBUNTU}
ARG EXTRAS
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    python3 -m venv /opt/restora \
    && /opt/restora/bin/pip install --no-cache-dir --no-index --find-links /wheels \
       "restora[${EXTRAS}]"
RUN useradd --uid 10001 --create-home restora \
    && install -d -m 700 -o restora /models /plans /cache /state
USER 10001
ENV PATH=/opt/restora/bin:$PATH RESTORA_MODELS=/models RESTORA_PLANS=/plans XDG_CACHE_HOME=/cache \
    PYTHONUNBUFFERED=1
VOLUME ["/models", "/plans", "/cache", "/state"]
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=600s CMD ["python3", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]
ENTRYPOINT ["restora"]
# a GPU that is missing is an error, not a slow service
CMD ["serve", "--host", "0.0.0.0", "--port", "8000", "--tokens", "/run/secrets/restora-tokens", \
     "--backend", "tensorrt"]
