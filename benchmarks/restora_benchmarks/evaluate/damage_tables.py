"""Tables of what damage was found and repaired, in Markdown."""

from __future__ import annotations

from restora_benchmarks.evaluate.damage import DamageReport


def format_tables(report: DamageReport) -> str:
    """Detection, repair, clean pictures, and speed."""
    lines = [
        f"{report.photos} photos, {report.pairs} damaged pictures",
        "",
        "| found | precision | recall | F1 | IoU |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {kind} | {d.precision:.3f} | {d.recall:.3f} | {d.f1:.3f} | {d.iou:.3f} |"
        for kind, d in report.detection.items()
    ]
    lines += [
        "",
        "| repaired by | PSNR inside | PSNR at the rim | SSIM inside | other pixels changed |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {r.psnr:.2f} | {r.rim_psnr:.2f} | {r.ssim:.4f} | {r.changed} |"
        for name, r in report.repair.items()
    ]
    lines += ["", "| clean pictures | pixels in the mask |", "|---|---|"]
    lines += [f"| {kind} | {share:.4%} |" for kind, share in report.false_share.items()]
    lines += [
        "",
        f"repaired clean photos reach {report.clean_psnr:.1f} dB or more to themselves",
        f"finding: {report.find_mp_per_s:.2f} MP/s; repairing: {report.repair_mp_per_s:.2f} MP/s",
    ]
    return "\n".join(lines)
