"""Tables of throughput and of the endurance runs."""

from __future__ import annotations

from typing import Any

from restora_tools.page_tables import heads_of, row_of

Row = dict[str, Any]
_NAMES = {
    "a device that sleeps": "simulated GPU",
    "a faster one": "faster simulated GPU",
    "openvino in bf16": "OpenVINO bf16",
    "cpu in fp32": "ONNX Runtime FP32",
}


def photos_table(result: dict[str, Any]) -> str:
    """Photos per second of restora, of a loop and of upstream; utilization of stages and cores."""
    heads = ["network", "restora", "one photo at a time", "upstream", "slowest stage alone"]
    heads += ["restora / slowest stage", "decode, restore, encode utilization", "CPU utilization"]
    lines = heads_of(heads)
    for row in result["photos"]:
        speed = row["photos_per_s"]
        published = next((value for way, value in speed.items() if "published" in way), None)
        busy = ", ".join(f"{row['busy'][name]:.0%}" for name in ("decode", "restore", "encode"))
        cells = [_name_of(row), f"**{speed['flow']:.3g}**", f"{speed['one after another']:.3g}"]
        cells.append("" if published is None else f"{published:.3g}")
        cells.append(f"{row['slowest']}: {speed[row['slowest'] + ' alone']:.3g}")
        cells += [f"{row['of_slowest']:.2f}", busy, f"{row['cores_busy']:.0%}"]
        lines.append(row_of(cells))
    filled = [row for row in result["photos"] if "tiles_per_call" in row]
    calls = " and ".join(
        f"{row['tiles_per_call']:.1f} of {row['batch']} tiles ({_name_of(row)})" for row in filled
    )
    words = (
        "Photos per second, from file to file. Tiles of different photos share batches, which held "
        f"{calls} on average."
    )
    return "\n".join([*lines, "", words])


def video_table(result: dict[str, Any]) -> str:
    video = result["video"]
    heads = ["implementation", "frames/s"]
    lines = heads_of(heads)
    lines += [
        row_of([_video_name(way, video["what"]), f"{value:.3g}"])
        for way, value in video["frames_per_s"].items()
    ]
    width, height = video["size"]
    busy = ", ".join(f"{name} {share:.0%}" for name, share in video["busy"].items())
    words = (
        f"{video['frames']} frames of {width} x {height}, H.264 to H.264. Utilization of restora's "
        f"stages: {busy}."
    )
    return "\n".join([*lines, "", words])


def scale_table(result: dict[str, Any]) -> str:
    heads = ["files", "seconds", "photos/s", "peak memory", "--memory"]
    lines = heads_of(heads)
    for row in result["scale"]:
        cells = [f"{row['files']:,}", f"{row['seconds']:.1f}", f"{row['photos_per_s']:.3g}"]
        lines.append(row_of([*cells, f"{row['peak_mb']} MB", row["limit"]]))
    machine = result["machine"]
    words = (
        f"{machine['cpu']}, {machine['cores_allowed']} cores, {machine['memory_gib']:.0f} GiB; "
        f"OpenVINO {machine['openvino']}, ONNX Runtime {machine['onnxruntime']}. This table shows "
        "single runs, the tables above show medians of interleaved runs."
    )
    return "\n".join([*lines, "", words])


def isolation_table(result: dict[str, Any]) -> str:
    heads = ["network and photos", "decoded in child processes", "in the same process", "ratio"]
    lines = heads_of(heads)
    for row in result["rows"]:
        speed = row["photos_per_s"]
        cells = [_name_of(row), f"{speed['isolated']:.3g}", f"{speed['in process']:.3g}"]
        lines.append(row_of([*cells, f"{row['ratio']:.2f}"]))
    return "\n".join([*lines, "", "Photos per second; medians of interleaved runs."])


def endurance_table(result: dict[str, Any]) -> str:
    heads = ["command", "inputs", "killed", "results", "reported failures", "exit code"]
    lines = heads_of(heads)
    for row in result["rows"]:
        failures = ", ".join(f"{count} {name}" for name, count in sorted(row["errors"].items()))
        times = f"{row['kills']} times" if row["kills"] else "no"
        cells = [row["way"], f"{row['photos']:,}", times, f"{row['outputs']:,}", failures]
        lines.append(row_of([*cells, str(row["exit_code"])]))
    return "\n".join(lines)


def _name_of(row: Row) -> str:
    """The networks of a measurement, in the words of the page."""
    return _rename(row["what"])


def _video_name(way: str, what: str) -> str:
    if way == "restora video":
        return f"**restora video** ({_rename(what)})"
    return way.replace("published way", "upstream frame by frame")


def _rename(what: str) -> str:
    for old, new in _NAMES.items():
        what = what.replace(old, new)
    return what


def hostile_table(result: dict[str, Any]) -> str:
    """Runs under --memory 1G, with ordinary files and with files made to hurt."""
    heads = [
        "1,000 files",
        "restored",
        "failed, one row each",
        "exit code",
        "seconds",
        "peak memory",
    ]
    lines = heads_of(heads)
    for row in result["rows"]:
        name = row["way"].removeprefix("restora restore --memory 1G, ")
        failed = str(sum(row["errors"].values()))
        cells = [name, f"{row['outputs']:,}", failed, str(row["exit_code"])]
        lines.append(row_of([*cells, f"{row['seconds']:.0f}", f"{row['peak_mb']} MB"]))
    words = "Peak memory is that of the command and its decoder processes together."
    return "\n".join([*lines, "", words])
