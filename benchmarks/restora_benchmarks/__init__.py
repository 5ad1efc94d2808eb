"""Latency, throughput and memory, with the accuracy beside the speed."""
