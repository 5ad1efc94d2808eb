"""Tables of what damage was found and repaired, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from restora_benchmarks.evaluate.damage_figures import Repair
from restora_benchmarks.evaluate.damage_report import DamageReport

_KINDS = {
    "scratch": "single scratches",
    "scratches": "bundles of scratches",
    "hair": "hairs",
    "mold": "specks of mold",
    "stain": "stains",
    "water_rim": "water rims",
    "fold": "folds",
    "torn_edge": "torn edges",
    "missing_corner": "missing corners",
}


def format_tables(report: DamageReport) -> str:
    """Detection, repair, clean pictures, and speed."""
    lines = [
        f"{report.photos} photos, {report.pairs} damaged pictures",
        "",
        found_table(report),
        "",
        "scratches:",
        "",
        repair_table(report.scratch_repair),
        "",
        "all damage:",
        "",
        repair_table(report.repair),
        "",
        *([kind_table(report), ""] if report.kinds else []),
        clean_table(report),
        "",
        *([photo_table(report), ""] if report.by_photo else []),
        *([marked_table(report), ""] if report.marked else []),
        f"repaired clean photos reach {report.clean_psnr:.1f} dB or more to themselves",
        f"finding: {report.find_mp_per_s:.2f} MP/s; repairing: {report.repair_mp_per_s:.2f} MP/s",
    ]
    return "\n".join(lines)


def found_table(report: DamageReport) -> str:
    """Precision, recall and F1 with a tolerance of one pixel, and the same without it."""
    lines = [
        "| found, within one pixel | precision | recall | F1 | F1, exact pixels | IoU |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {kind} | {d.precision:.3f} | {d.recall:.3f} | {d.f1:.3f} | {d.exact_f1:.3f} "
        f"| {d.iou:.3f} |"
        for kind, d in report.detection.items()
    ]
    return "\n".join(lines)


def kind_table(report: DamageReport) -> str:
    """What is found of each kind of damage, and how much nearer its repair is to the clean one."""
    lines = [
        "| kind of damage | pictures | share of the damage | found | gain |",
        "|---|---|---|---|---|",
    ]
    total = sum(figures.true for figures in report.kinds.values())
    lines += [
        f"| {_KINDS.get(kind, kind)} | {f.pictures} | {f.true / max(total, 1):.1%} "
        f"| {f.recall:.0%} | {f.gain:+.1f} dB |"
        for kind, f in sorted(report.kinds.items(), key=lambda row: -row[1].true)
    ]
    return "\n".join(lines)


def repair_table(figures: Mapping[str, Repair]) -> str:
    """Accuracy inside the true mask, by mask and method."""
    lines = [
        "| repaired by | PSNR inside | PSNR at the rim | SSIM inside | other pixels changed |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {r.psnr:.2f} dB | {r.rim_psnr:.2f} dB | {r.ssim:.3f} | {r.changed} |"
        for name, r in figures.items()
    ]
    return "\n".join(lines)


def clean_table(report: DamageReport) -> str:
    """Share of the pixels of clean pictures that are taken for damage."""
    lines = ["| clean pictures | pixels in the mask |", "|---|---|"]
    lines += [f"| {kind} | {share:.2%} |" for kind, share in report.false_share.items()]
    return "\n".join(lines)


def photo_table(report: DamageReport) -> str:
    """By photo: how scratches on it are found, and how much of it is repainted if undamaged."""
    lines = [
        "| photo | scratches: precision | recall | F1 | undamaged: in the mask | repaired |",
        "|---|---|---|---|---|---|",
    ]
    for name, f in report.by_photo.items():
        found = f"{f.scratches.precision:.3f} | {f.scratches.recall:.3f} | {f.scratches.f1:.3f}"
        same = f"{f.clean_psnr:.1f} dB" if f.false_share else "unchanged"
        lines.append(f"| {name} | {found} | {f.false_share:.2%} | {same} |")
    return "\n".join(lines)


def marked_table(report: DamageReport) -> str:
    """What is found of real damage that was marked by hand."""
    lines = [
        "| photo | places marked | found | recall, pixels | precision, pixels |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {f.places} | {f.found_places} | {f.detection.recall:.2f} "
        f"| {f.detection.precision:.2f} |"
        for name, f in report.marked.items()
    ]
    return "\n".join(lines)
