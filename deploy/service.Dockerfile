# `restora serve` on CPUs: photos over HTTP, with a page, metrics and probes; no PyTorch, no compiler.
#
#   docker build -f deploy/service.Dockerfile -t restora-serve .
#   docker run --rm --init -p 8000:8000 -v "$PWD/tokens:/run/secrets/restora-tokens:ro" restora-serve
#
# The file of tokens has one line a client: NAME TOKEN. EXTRAS=serve,cpu,openvino,faces also installs
# the face detectors; face networks are artifacts in /models.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY engine engine
COPY export export
COPY calibration calibration
COPY training training
COPY benchmarks benchmarks
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim-bookworm
ARG EXTRAS=serve,cpu,openvino
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    python3 -m venv /opt/restora \
    && /opt/restora/bin/pip install --no-cache-dir "$(echo /wheels/restora-*.whl)[${EXTRAS}]"
RUN useradd --uid 10001 --create-home restora \
    && install -d -m 700 -o restora /models /cache /state
USER 10001
ENV PATH=/opt/restora/bin:$PATH RESTORA_MODELS=/models XDG_CACHE_HOME=/cache PYTHONUNBUFFERED=1
VOLUME ["/models", "/cache", "/state"]
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["python3", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]
ENTRYPOINT ["restora"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000", "--tokens", "/run/secrets/restora-tokens"]
