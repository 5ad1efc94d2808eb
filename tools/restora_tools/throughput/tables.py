"""Tables of pages that show throughput, and what was proven of runs that are killed."""

from __future__ import annotations

from typing import Any

from restora_tools.page_tables import row_of

Row = dict[str, Any]


def photos_table(result: dict[str, Any]) -> str:
    """Photos a second of the flow, of a loop and of the published way; and how busy the stages
    were."""
    heads = ["networks", "flow", "one after another", "published way", "slowest stage alone"]
    heads += ["flow / slowest stage", "decode, restore, encode at work", "cores busy"]
    lines = [row_of(heads), row_of(["---"] * len(heads))]
    for row in result["photos"]:
        speed = row["photos_per_s"]
        published = next((value for way, value in speed.items() if "published" in way), None)
        busy = ", ".join(f"{row['busy'][name]:.0%}" for name in ("decode", "restore", "encode"))
        cells = [row["what"], f"**{speed['flow']:.3g}**", f"{speed['one after another']:.3g}"]
        cells.append("" if published is None else f"{published:.3g}")
        cells.append(f"{row['slowest']}: {speed[row['slowest'] + ' alone']:.3g}")
        cells += [f"{row['of_slowest']:.2f}", busy, f"{row['cores_busy']:.0%}"]
        lines.append(row_of(cells))
    filled = [row for row in result["photos"] if "tiles_per_call" in row]
    calls = "; ".join(
        f"{row['tiles_per_call']:.1f} tiles a call of at most {row['batch']} for {row['what']}"
        for row in filled
    )
    words = f"Photos a second, from file to file. Photos of four tiles shared calls: {calls}."
    return "\n".join([*lines, "", words])


def video_table(result: dict[str, Any]) -> str:
    video = result["video"]
    heads = ["way", "frames/s"]
    lines = [row_of(heads), row_of(["---"] * len(heads))]
    lines += [
        row_of([f"{way} ({video['what']})" if way == "restora video" else way, f"{value:.3g}"])
        for way, value in video["frames_per_s"].items()
    ]
    width, height = video["size"]
    busy = ", ".join(f"{name} {share:.0%}" for name, share in video["busy"].items())
    words = f"{video['frames']} frames of {width} x {height}, H.264 to H.264; at work: {busy}."
    return "\n".join([*lines, "", words])


def scale_table(result: dict[str, Any]) -> str:
    heads = ["files", "seconds", "photos/s", "peak memory", "--memory"]
    lines = [row_of(heads), row_of(["---"] * len(heads))]
    for row in result["scale"]:
        cells = [f"{row['files']:,}", f"{row['seconds']:.1f}", f"{row['photos_per_s']:.3g}"]
        lines.append(row_of([*cells, f"{row['peak_mb']} MB", row["limit"]]))
    machine = result["machine"]
    words = (
        f"{machine['cpu']}, {machine['cores_allowed']} cores, {machine['memory_gib']:.0f} GiB; "
        f"OpenVINO {machine['openvino']}, ONNX Runtime {machine['onnxruntime']}. One run each; "
        "above, medians of runs that took turns."
    )
    return "\n".join([*lines, "", words])


def isolation_table(result: dict[str, Any]) -> str:
    heads = ["networks and photos", "decoded in child processes", "in the same process", "ratio"]
    lines = [row_of(heads), row_of(["---"] * len(heads))]
    for row in result["isolation"]:
        speed = row["photos_per_s"]
        cells = [row["what"], f"{speed['isolated']:.3g}", f"{speed['in process']:.3g}"]
        lines.append(row_of([*cells, f"{row['ratio']:.2f}"]))
    return "\n".join([*lines, "", "Photos a second of the flow; medians of runs that take turns."])


def endurance_table(result: dict[str, Any]) -> str:
    heads = ["run", "photos", "killed", "results", "failures told", "exit code"]
    lines = [row_of(heads), row_of(["---"] * len(heads))]
    for row in result["rows"]:
        failures = ", ".join(f"{count} {name}" for name, count in sorted(row["errors"].items()))
        times = f"{row['kills']} times" if row["kills"] else "no"
        cells = [row["way"], f"{row['photos']:,}", times, f"{row['outputs']:,}", failures]
        lines.append(row_of([*cells, str(row["exit_code"])]))
    return "\n".join(lines)
