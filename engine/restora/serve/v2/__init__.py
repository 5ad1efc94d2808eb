"""The Open Inference Protocol (V2) for the networks of a service, over HTTP and gRPC.

Specification: github.com/kserve/open-inference-protocol, with the extensions binary tensor data,
model configuration, statistics and model repository (index only) of
github.com/triton-inference-server/server/tree/main/docs/protocol.
"""
