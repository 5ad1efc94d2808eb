"""A tiny network of dense blocks as a graph, for tests of INT8."""

import onnx

from export_cache import kept
from restora_benchmarks.recipe import fill_network
from restora_export.onnx_file import onnx_from_network
from restora_export.reference import RRDBNet


def load_dense_network() -> onnx.ModelProto:
    """An RRDBNet of scale 2 with one block and 8 features, uint8 pictures."""
    network = fill_network(RRDBNet(2, 8, 4, 1, upsamples=1), 0, "rrdb")
    made = kept("dense", lambda: onnx_from_network(network, io="uint8").SerializeToString())
    return onnx.load_from_string(made)
