"""Write networks as ncnn files, as its converters do: .param and .bin."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from restora_export.reference import RRDBNet, SRVGGNetCompact

Storage = Literal["fp32", "fp16", "int8"]
INT8_STEPS = 127


def write_ncnn(path: Path, network: torch.nn.Module, storage: Storage = "fp32") -> Path:
    """Write path.param and path.bin; returns the first."""
    param, weights = ncnn_bytes(network, storage)
    path.with_suffix(".bin").write_bytes(weights)
    path.with_suffix(".param").write_bytes(param)
    return path.with_suffix(".param")


def ncnn_bytes(network: torch.nn.Module, storage: Storage = "fp32") -> tuple[bytes, bytes]:
    """The contents of .param and .bin."""
    writer = Writer(storage)
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    if isinstance(network, RRDBNet):
        writer.write_rrdb(network, state)
    else:
        assert isinstance(network, SRVGGNetCompact)
        writer.write_srvgg(network, state)
    return writer.param(), b"".join(writer.parts)


@dataclass
class Writer:
    """lines: of the .param file; parts: of the .bin file"""

    storage: Storage
    lines: list[str] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    made: int = 0

    def param(self) -> bytes:
        head = f"7767517\n{len(self.lines)} {self.made}\n"
        return (head + "\n".join(self.lines) + "\n").encode()

    def layer(self, kind: str, inputs: list[str], values: str = "", outputs: int = 1) -> list[str]:
        """Add a layer; returns the names of its outputs."""
        number = len(self.lines)
        names = [f"t{number}_{index}" for index in range(outputs)]
        counts = f"{len(inputs)} {len(names)}"
        words = [kind, f"{kind}_{number}", counts, *inputs, *names, values]
        self.lines.append(" ".join(words).strip())
        self.made += outputs
        return names

    def one(self, kind: str, *inputs: str, values: str = "") -> str:
        return self.layer(kind, list(inputs), values)[0]

    def convolution(self, x: str, weight: np.ndarray, bias: np.ndarray, values: str = "") -> str:
        int8 = self.storage == "int8"
        values = f"0={len(bias)} 1=3 4=1 5=1 6={weight.size} {'8=1 ' if int8 else ''}{values}"
        y = self.one("Convolution", x, values=values)
        if int8:
            scales = INT8_STEPS / np.abs(weight).max(axis=(1, 2, 3))
            steps = np.rint(weight * scales[:, None, None, None]).astype(np.int8).tobytes()
            self.parts += [struct.pack("<I", 0x000D4B38), steps + bytes(-len(steps) % 4)]
            self.floats(bias)
            self.floats(scales)
            self.floats(np.ones(1))
        elif self.storage == "fp16":
            halves = weight.astype("<f2").tobytes()
            self.parts += [struct.pack("<I", 0x01306B47), halves + bytes(-len(halves) % 4)]
            self.floats(bias)
        else:
            self.parts.append(struct.pack("<I", 0))
            self.floats(weight)
            self.floats(bias)
        return y

    def floats(self, values: np.ndarray) -> None:
        self.parts.append(values.astype("<f4").tobytes())

    def named(self, x: str, state: dict[str, np.ndarray], key: str, values: str = "") -> str:
        return self.convolution(x, state[f"{key}.weight"], state[f"{key}.bias"], values)

    def write_rrdb(self, network: RRDBNet, state: dict[str, np.ndarray]) -> None:
        leaky = "9=2 -23310=1,2.000000e-01"
        x = self.one("Input")
        if network.size_multiple > 1:
            x = self.one("Reorg", x, values=f"0={network.size_multiple}")
        shallow = self.named(x, state, "conv_first")
        deep = shallow
        for block in range(len(network.body)):
            inner = deep
            for rdb in (1, 2, 3):
                grown = [inner]
                for conv in (1, 2, 3, 4, 5):
                    joined = self.one("Concat", *grown, values="0=0")
                    key = f"body.{block}.rdb{rdb}.conv{conv}"
                    grown.append(self.named(joined, state, key, leaky if conv < 5 else ""))
                inner = self.one(
                    "Eltwise", grown[-1], inner, values="0=1 -23301=2,2.000000e-01,1.000000e+00"
                )
            scaled = self.one("BinaryOp", inner, values="0=2 1=1 2=2.000000e-01")
            deep = self.one("BinaryOp", scaled, deep, values="0=0")
        deep = self.one("BinaryOp", shallow, self.named(deep, state, "conv_body"))
        for up in range(1, network.upsamples + 1):
            large = self.one("Interp", deep, values="0=1 1=2.000000e+00 2=2.000000e+00")
            plain = self.named(large, state, f"conv_up{up}")
            deep = self.one("ReLU", plain, values="0=2.000000e-01")
        deep = self.named(deep, state, "conv_hr", leaky)
        self.named(deep, state, "conv_last")

    def write_srvgg(self, network: SRVGGNetCompact, state: dict[str, np.ndarray]) -> None:
        start = self.one("Input")
        x, other = self.layer("Split", [start], outputs=2)
        for index, part in enumerate(network.body):
            if isinstance(part, torch.nn.Conv2d):
                x = self.named(x, state, f"body.{index}")
            elif isinstance(part, torch.nn.PReLU):
                slopes = state[f"body.{index}.weight"]
                x = self.one("PReLU", x, values=f"0={len(slopes)}")
                self.floats(slopes)
            else:
                slope = 0.1 if isinstance(part, torch.nn.LeakyReLU) else 0.0
                x = self.one("ReLU", x, values=f"0={slope:e}")
        detail = self.one("PixelShuffle", x, values=f"0={network.scale}")
        factor = f"{network.scale}.000000e+00"
        large = self.one("Interp", other, values=f"0=1 1={factor} 2={factor}")
        self.one("BinaryOp", detail, large, values="0=0")
