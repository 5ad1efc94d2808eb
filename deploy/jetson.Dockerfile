# restora on a Jetson, in a container of its own JetPack: TensorRT and CUDA are the system's.
#
#   sudo docker build -f deploy/jetson.Dockerfile -t restora-jetson .          # on the Jetson
#   sudo docker run --rm --runtime nvidia -v restora-plans:/plans -v "$PWD/photos:/photos" \
#       restora-jetson restore -i /photos -o /photos/restored
#
# BASE must be of the same JetPack as the device: r36.2.0 is JetPack 6.0 (TensorRT 8.6),
# r36.4.0 is JetPack 6.1 and later (TensorRT 10.3). Never install TensorRT with pip here.
# EXTRA fits the CUDA of JetPack: jetson-cu12 for JetPack 6, jetson-cu13 for JetPack 7.
ARG BASE=nvcr.io/nvidia/l4t-jetpack:r36.4.0
FROM ${BASE}
ARG EXTRA=jetson-cu12
RUN apt-get update && apt-get install -y --no-install-recommends \
    python3-dev python3-pip python3-venv python3-libnvinfer g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY engine engine
COPY export export
COPY calibration calibration
COPY training training
COPY benchmarks benchmarks
# --system-site-packages: the tensorrt module is the system's
RUN python3 -m venv --system-site-packages /opt/restora \
    && PATH=/usr/local/cuda/bin:$PATH /opt/restora/bin/pip install --no-cache-dir \
       ".[${EXTRA},cpu]"
RUN install -d -m 700 /plans /models
ENV PATH=/opt/restora/bin:$PATH RESTORA_PLANS=/plans RESTORA_MODELS=/models
VOLUME ["/plans", "/models"]
ENTRYPOINT ["restora"]
CMD ["doctor"]
