"""What is measured on a machine with a GPU, stage by stage.

Stages that run TensorRT import no torch, and those that run PyTorch no TensorRT: the two may live
in different interpreters of one machine.
"""
