# restora on a data-center GPU: TensorRT, PyCUDA, ONNX Runtime for CUDA; no PyTorch, no compiler.
#
#   docker build -f deploy/datacenter.Dockerfile -t restora .
#   docker run --rm --gpus all -v restora-plans:/plans -v "$PWD/photos:/photos" restora \
#       restore -i /photos -o /photos/restored
#
# The driver comes from the host, through the NVIDIA container toolkit. Plans are built at the
# first use, for the GPU at hand, and kept in the volume: they fit no other kind of GPU.
# CUDA and EXTRA must have one major version: 12.6.3 and gpu-cu12, or 13.0.1 and gpu-cu13.
ARG CUDA=12.6.3
ARG UBUNTU=24.04
ARG EXTRA=gpu-cu12

# PyCUDA comes as source: compiled here, where the headers are, and carried over as a wheel
FROM nvidia/cuda:${CUDA}-devel-ubuntu${UBUNTU} AS wheels
ARG EXTRA
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
    ".[${EXTRA}]"

FROM nvidia/cuda:${CUDA}-cudnn-runtime-ubuntu${UBUNTU}
ARG EXTRA
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    python3 -m venv /opt/restora \
    && /opt/restora/bin/pip install --no-cache-dir --no-index --find-links /wheels \
       "restora[${EXTRA}]"
RUN useradd --uid 10001 --create-home restora && install -d -m 700 -o restora /plans /models
USER 10001
ENV PATH=/opt/restora/bin:$PATH RESTORA_PLANS=/plans RESTORA_MODELS=/models
VOLUME ["/plans", "/models"]
ENTRYPOINT ["restora"]
CMD ["doctor"]
