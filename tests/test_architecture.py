"""The directions of imports, and what importing restora costs."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import restora

ROOT = Path(__file__).parents[1]
# each package may import the packages before it
PACKAGES = {
    "restora": ROOT / "engine" / "restora",
    "restora_export": ROOT / "export" / "restora_export",
    "restora_calibration": ROOT / "calibration" / "restora_calibration",
    "restora_training": ROOT / "training" / "restora_training",
    "restora_benchmarks": ROOT / "benchmarks" / "restora_benchmarks",
    "restora_tools": ROOT / "tools" / "restora_tools",
}
# each room may import the rooms before it; stages do not import each other
BASE = (
    "version", "errors", "exit_codes", "atomic", "files", "checks", "byte_size", "cache_folder",
    "malloc", "child",
)  # fmt: skip
PARTS = ("image", "tiling", "artifact", "models", "backends")
STAGES = ("upsample", "faces", "color", "damage")
# of jobs, what schedules work of any kind and knows no Restorer
SCHEDULING = ("budget", "scheduler", "sizes")
WHOLE = (
    "tile_memory", "options", "networks", "settings", "photo_io", "restoration", "enlarge",
    "repairs", "owner", "scheduling", "many", "pipeline",
)  # fmt: skip
LATER = ("doctor", "jobs", "video", "cluster", "triton", "serve", "cli")
ORDER = (*BASE, *PARTS, *STAGES, *WHOLE, *LATER)
INDEPENDENT = {
    "image": {"tiling", "models"},
    "tiling": {"image", "models"},
    "faces": {"upsample", "tiling"},
    "color": {"upsample", "faces", "tiling"},
    "damage": {"upsample", "faces", "color"},
}
RUNTIME_HOMES = {
    ("ncnn", "module.py"),
    ("ncnn", "onnx_graph.py"),
    ("tensorrt", "module.py"),
    ("tensorrt", "cuda.py"),
    ("tensorrt", "bindings.py"),
}
# the one module of the engine that makes artifacts from checkpoints, when it is asked to
EXPORTING = ("models", "resolve.py")
RUNTIMES = {"onnxruntime", "tensorrt", "pycuda", "cuda", "openvino", "ncnn", "torch", "onnx"}


def imports_of(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, functions included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


def room_of(name: str) -> str | None:
    """Of a module of the engine, by its dotted name; None for other modules."""
    top, room, *rest = *name.split("."), ""
    if top != "restora" or not room:
        return None
    return "scheduling" if room == "jobs" and rest[0] in SCHEDULING else room


def files_of(package: str) -> list[Path]:
    return sorted(PACKAGES[package].rglob("*.py"))


def test_the_engine_imports_none_of_the_build_time_packages_outside_its_cli() -> None:
    build_time = set(PACKAGES) - {"restora"}
    for path in files_of("restora"):
        parts = path.relative_to(PACKAGES["restora"]).parts
        if "cli" in parts or parts == EXPORTING:
            continue
        tops = {name.split(".")[0] for name in imports_of(path)}
        assert not tops & build_time, path


def test_each_room_of_the_engine_imports_only_rooms_before_it() -> None:
    for path in files_of("restora"):
        module = path.relative_to(PACKAGES["restora"].parent).with_suffix("")
        room = room_of(".".join(module.parts))
        if room in ("__init__", "__main__"):
            continue
        allowed = set(ORDER[: ORDER.index(room) + 1]) - INDEPENDENT.get(room, set())
        used = {r for r in map(room_of, imports_of(path)) if r in ORDER}
        assert used <= allowed, path


def test_no_face_stage_imports_another() -> None:
    for path in sorted((PACKAGES["restora"] / "faces").glob("*.py")):
        used = {n.split(".")[2] for n in imports_of(path) if n.startswith("restora.faces.")}
        if path.stem not in ("__init__", "open", "options", "pipeline"):
            assert used <= {"face", path.stem}, path


def test_a_runtime_is_imported_by_its_own_session_file_alone() -> None:
    for path in files_of("restora"):
        runtimes = {name.split(".")[0] for name in imports_of(path)} & RUNTIMES
        if runtimes and "cli" not in path.parts:
            home = path.parent.name == "backends" or path.parts[-2:] in RUNTIME_HOMES
            assert home, path
            assert len(runtimes) == 1, path


def packages_used_by(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports_of(path)} & set(PACKAGES)


@pytest.mark.parametrize("package", list(PACKAGES)[1:])
def test_each_package_imports_only_packages_before_it(package: str) -> None:
    order = list(PACKAGES)
    allowed = set(order[: order.index(package) + 1])
    for path in files_of(package):
        assert packages_used_by(path) <= allowed, path


def test_benchmarks_are_imported_by_their_own_commands_and_tools_by_no_command() -> None:
    files = [path for path in files_of("restora") if "cli" in path.parts]
    users = {path.stem for path in files if "restora_benchmarks" in packages_used_by(path)}
    assert users == {"bench", "evaluate"}
    assert not [path for path in files if "restora_tools" in packages_used_by(path)]


def test_the_wheel_holds_every_package_but_the_tools() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 cannot read TOML")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    shipped = [path for name, path in PACKAGES.items() if name != "restora_tools"]
    assert {ROOT / name for name in packed} == set(shipped)


# names with an underscore that their packages document, or offer under no other name
DOCUMENTED = {"os._exit", "torch._int_mm", "torch.utils._python_dispatch", "torch.utils._pytree"}


def is_private(name: str) -> bool:
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))


def defined_in(tree: ast.AST) -> set[str]:
    """All names that a file gives a meaning to, attributes of self included."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
    return names


def private_names_of_others(code: str) -> list[str]:
    """Imports and attributes with an underscore that the file does not define itself."""
    tree = ast.parse(code)
    own, found = defined_in(tree), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if is_private(alias.name)]
        elif isinstance(node, ast.ImportFrom):
            module = str(node.module)
            names = [module] if is_private(module) else []
            names += [f"{module}.{a.name}" for a in node.names if is_private(a.name)]
            found += names
        elif isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own:
            owner = ast.unparse(node.value)
            if owner not in ("self", "cls"):
                found.append(f"{owner}.{node.attr}")
    return [name for name in found if name not in DOCUMENTED]


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_uses_a_private_name_of_another_file(package: str) -> None:
    used = {path: private_names_of_others(path.read_text()) for path in files_of(package)}
    assert {path: names for path, names in used.items() if names} == {}


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("restorer._upsampler('uint8')", ["restorer._upsampler"]),
        ("from restora.upsample import _scaled_size", ["restora.upsample._scaled_size"]),
        ("import restora._hidden", ["restora._hidden"]),
        ("from restora._hidden import seen", ["restora._hidden"]),
        ("import os\nos._exit(1)", []),
        ("from __future__ import annotations\nx.__class__", []),
        ("class A:\n    def same(self, other): return self._b == other._c", ["other._c"]),
        ("class A:\n    _b = 1\n    def same(self, other): return other._b", []),
    ],
)
def test_a_private_name_of_another_file_is_found(code: str, found: list[str]) -> None:
    assert private_names_of_others(code) == found


def loaded_by(code: str) -> set[str]:
    """Top-level modules in sys.modules after running `code` in a fresh interpreter."""
    report = "import sys; print(*{name.split('.')[0] for name in sys.modules})"
    path = ":".join(str(folder.parent) for folder in PACKAGES.values())
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": path, "PATH": ""},
    )
    return set(result.stdout.splitlines()[-1].split())


PUBLIC = (
    "CpuOptions",
    "DamageOptions",
    "FaceOptions",
    "Metadata",
    "ModelSummary",
    "Photo",
    "PhotoLimits",
    "PlanOptions",
    "RestoraError",
    "Restoration",
    "RestoreOptions",
    "Restorer",
    "RunOptions",
    "RunResult",
    "Session",
    "SessionOptions",
    "VideoOptions",
    "__version__",
    "available_models",
    "encode_photo",
    "fetch_model",
    "open_session",
    "read_photo",
    "restore_file",
    "restore_folder",
    "restore_video",
    "write_photo",
)
HEAVY = {"numpy", "cv2", "PIL", "torch", "onnx", "onnxruntime", "tensorrt", "typer", "rich"}


def test_importing_restora_loads_nothing_heavy() -> None:
    assert not loaded_by("import restora") & HEAVY


def test_asking_for_the_version_loads_nothing_heavy() -> None:
    code = "import sys; from restora.cli import main\nsys.argv = ['restora', '--version']\n"
    code += "try: main()\nexcept SystemExit: pass"
    assert not loaded_by(code) & HEAVY


def test_restoring_never_loads_torch() -> None:
    code = "import restora; restora.Restorer, restora.restore_folder, restora.open_session"
    assert not loaded_by(code) & {"torch", "onnx", "tensorrt", "onnxruntime"}


def test_measuring_loads_no_peer_until_it_is_measured() -> None:
    code = "from restora_benchmarks.bench import report, run, schema, tables, ways"
    assert not loaded_by(code) & {"torch", "ncnn", "pnnx", "openvino", "tensorrt"}


def test_the_public_names_are_these() -> None:
    assert sorted(restora.__all__) == sorted(PUBLIC)
    for name in restora.__all__:
        assert getattr(restora, name) is not None


def test_type_checkers_see_every_public_name() -> None:
    """They do not run __getattr__: what is imported for them is what is exported."""
    tree = ast.parse((PACKAGES["restora"] / "__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name for node in block.body for alias in node.names}  # type: ignore[attr-defined]
    assert seen | {"__version__"} == set(restora.__all__)


def test_a_public_name_whose_package_is_not_installed_says_what_to_install() -> None:
    code = "import sys; sys.modules['av'] = None\nimport restora; restora.VideoOptions\n"
    code += "try: from restora import restore_video\nexcept ImportError as error: print(error)"
    path = str(PACKAGES["restora"].parent)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": path}
    )
    assert done.stdout.strip() == "videos need PyAV: pip install 'restora[video]'", done.stderr


def snippets() -> list[str]:
    """All Python code of README and docs."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = []
    for page in pages:
        found += re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return found


def test_what_the_docs_import_is_exported_from_where_they_import_it() -> None:
    """Type checkers refuse a name that a module has only imported itself."""
    imports = [
        (node.module or "", alias.name)
        for snippet in snippets()
        for node in ast.walk(ast.parse(snippet))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("restora")
        for alias in node.names
    ]
    assert imports
    for module, name in imports:
        home = importlib.import_module(module)
        exported = getattr(home, "__all__", None)
        value = getattr(home, name)
        own = name in exported if exported else getattr(value, "__module__", module) == module
        assert own, f"from {module} import {name}"


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'upscale'"):
        restora.upscale  # noqa: B018
