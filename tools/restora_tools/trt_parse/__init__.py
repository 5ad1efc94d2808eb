"""Parse artifacts with TensorRT 8.6's own ONNX parser, on a machine without a GPU.

`python -m restora_tools.trt_parse` builds a small host program (`host/`) around the parser's
library, gives it every kind of artifact, and compares output shapes with the metadata and layers
with benchmarks/results/trt-parse.json. docs/gpu.md says what that proves.
"""
