"""Write C++ classes that implement the abstract ones of NvInferImpl.h and store what is set.

TensorRT's layers are thin faces over abstract classes, such as apiv::VSliceLayer. For each of them
there is a StoredSliceLayer with a member for each setter: mStart for setStart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_METHOD = re.compile(r"virtual\s+([\w:&* ]+?[&* ])(\w+)\(([^)]*)\)\s*(const\s*)?noexcept\s*=\s*0;")
_CLASS = re.compile(r"class (V\w+) : public VRoot\s*\{(.*?)\n\};", re.DOTALL)
_LAYER_KIND = re.compile(r"^\s*k(\w+) = (\d+)", re.MULTILINE)
_HEAD = """// made by restora_tools.trt_parse.interfaces from NvInferImpl.h and NvInfer.h
#pragma once
#include <cstdlib>
#include "tensor.h"
namespace stored {
using namespace nvinfer1;
"""


@dataclass(frozen=True, slots=True)
class Method:
    returns: str
    name: str
    arguments: str
    constant: bool

    def override(self, body: str) -> str:
        constant = " const" if self.constant else ""
        return f"  {self.returns} {self.name}({self.arguments}){constant} noexcept override {body}"


def make_classes(implementation: str, interface: str) -> str:
    """Return stored.h. implementation: the text of NvInferImpl.h; interface: that of NvInfer.h"""
    parts = [_HEAD]
    names = []
    for name, body in _CLASS.findall(implementation):
        methods = read_methods(body)
        if name == "VNetworkDefinition":
            parts.append(_network(methods))
        elif name.endswith("Layer") and name != "VLayer":
            parts.append(_layer(name, methods))
            names.append(f"Stored{name[1:]}")
    uses = "".join(f"using stored::{name};\n" for name in (*names, "StoredNetwork"))
    return "\n".join([*parts, f"}}  // namespace stored\n{uses}", _kinds(interface)])


def read_methods(body: str) -> list[Method]:
    """The pure virtual methods of a class."""
    text = re.sub(r"\s+", " ", body)
    return [
        Method(returns.strip(), name, arguments, bool(constant))
        for returns, name, arguments, constant in _METHOD.findall(text)
    ]


def _layer(name: str, methods: list[Method]) -> str:
    fields = dict(filter(None, map(_field, methods)))
    lines = [f"struct Stored{name[1:]} : apiv::{name} {{"]
    lines += [f"  {kind} m{field}{{}};" for field, kind in fields.items()]
    lines += [method.override(_body(method, fields)) for method in methods]
    return "\n".join([*lines, "};"])


def _field(method: Method) -> tuple[str, str] | None:
    """The name and the type of what a setter sets."""
    argument = re.fullmatch(r"(.*?)(\w+)", method.arguments.strip())
    if not method.name.startswith("set") or argument is None or "," in method.arguments:
        return None
    kind = re.sub(r"\bconst\b", "", argument[1]).strip()
    if "char" in kind:
        return method.name[3:], "std::string"
    return method.name[3:], "ITensor*" if "ITensor" in kind else kind.rstrip("& ")


def _body(method: Method, fields: dict[str, str]) -> str:
    field = method.name[3:]
    if method.name.startswith("set") and field in fields and _field(method):
        value = method.arguments.split()[-1].lstrip("&*")
        value = f"&{value}" if fields[field] == "ITensor*" else value
        return f"{{ m{field} = {value};{' return true;' if method.returns == 'bool' else ''} }}"
    if method.name.startswith("get") and not method.arguments and field in fields:
        return f"{{ return m{field}{'.c_str()' if 'char' in method.returns else ''}; }}"
    return _default(method)


def _default(method: Method) -> str:
    if method.returns == "void":
        return "{}"
    return "{ std::abort(); }" if method.returns.endswith("&") else "{ return {}; }"


def _network(methods: list[Method]) -> str:
    lines = ["struct StoredNetwork : apiv::VNetworkDefinition {"]
    for method in methods:
        body = _default(method)
        if method.name.startswith("add"):
            body = f'{{ report("{method.name} is not recorded"); return nullptr; }}'
        lines.append(method.override(body))
    return "\n".join([*lines, "};"])


def _kinds(interface: str) -> str:
    start = interface.index("enum class LayerType")
    kinds = _LAYER_KIND.findall(interface[start : interface.index("};", start)])
    cases = "\n".join(f'    case {number}: return "{name.lower()}";' for name, number in kinds)
    return (
        "inline char const* layer_name(LayerType type) {\n"
        f"  switch (static_cast<int>(type)) {{\n{cases}\n"
        '    default: return "unknown";\n  }\n}\n'
    )
