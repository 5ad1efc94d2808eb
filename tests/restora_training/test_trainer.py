"""Training runs: what they learn, write, and how they continue."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from restora.errors import DiskFullError, OptionError
from restora_training import DivergedError, make_recipe, train
from restora_training.run import state
from restora_training.run.log import read_log
from restora_training.run.objective import Objective
from restora_training.run.state import EARLIER_STATE_FILE, NETWORK_FILE, STATE_FILE
from training_runs import values_of, write_photos


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("clean") / "photos")


def run(values: dict[str, Any], folder: Path, **arguments: Any) -> Any:
    return train(make_recipe(values, folder=Path()), folder, **arguments)


def test_a_run_writes_its_network_log_state_and_samples(photos: Path, tmp_path: Path) -> None:
    seen = []
    result = run(values_of(photos), tmp_path / "run", report=seen.append)
    assert (result.steps, result.stopped) == (4, False)
    assert [report.step for report in seen] == [1, 2, 3, 4]
    assert result.figures is not None
    assert result.figures.psnr > 5
    assert result.network == tmp_path / "run" / NETWORK_FILE
    rows = read_log(tmp_path / "run" / "log.csv")
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    assert rows[1]["psnr"] != ""
    assert rows[0]["psnr"] == ""
    assert {p.name for p in (tmp_path / "run" / "samples").iterdir()} == {
        "step-0000002.png",
        "step-0000004.png",
    }


def test_a_run_that_is_continued_gives_the_same_bits(photos: Path, tmp_path: Path) -> None:
    values = values_of(photos)
    values["losses"] = {"adversarial": 0.1, "discriminator_width": 4}
    whole = run(values, tmp_path / "whole")
    stopped = run(values, tmp_path / "parts", should_stop=iter([False, True]).__next__)
    assert (stopped.steps, stopped.stopped) == (2, True)
    parts = run(values, tmp_path / "parts")
    for file in (STATE_FILE, NETWORK_FILE):
        assert (tmp_path / "whole" / file).exists()
    first, second = load_file(whole.network), load_file(parts.network)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    rows = read_log(tmp_path / "parts" / "log.csv")
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_bits(photos: Path, tmp_path: Path) -> None:
    values = values_of(photos, steps=30, save=5)
    code = textwrap.dedent(
        f"""
        from pathlib import Path
        from restora_training import make_recipe, train
        def report(step):
            print(step.step, flush=True)
        folder = Path({str(tmp_path / "killed")!r})
        train(make_recipe({values!r}, folder=Path()), folder, report=report)
        """
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.strip() == "13":
                child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    killed = run(values, tmp_path / "killed")
    whole = run(values, tmp_path / "whole")
    first, second = load_file(whole.network), load_file(killed.network)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_training_brings_the_network_nearer_to_the_photos(photos: Path, tmp_path: Path) -> None:
    values = values_of(photos, steps=40, validate=40)
    values["degradation"] = {"kind": "shrink"}
    losses = []
    run(values, tmp_path / "run", report=lambda report: losses.append(report.losses["pixel"]))
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_another_recipe_does_not_continue_a_run(photos: Path, tmp_path: Path) -> None:
    run(values_of(photos, steps=2), tmp_path / "run")
    values = values_of(photos, steps=4)
    values["optimizer"] = {"rate": 1e-4}
    with pytest.raises(OptionError, match="a run of another recipe"):
        run(values, tmp_path / "run")


def test_a_run_continues_after_it_was_moved(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "here" / "photos")
    run(values_of(folder, steps=2), tmp_path / "here" / "run")
    (tmp_path / "here").rename(tmp_path / "there")
    result = run(values_of(tmp_path / "there" / "photos"), tmp_path / "there" / "run")
    assert result.steps == 4


def test_a_run_does_not_continue_with_other_photos(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    run(values_of(folder, steps=2), tmp_path / "run")
    shutil.copy(folder / "0.png", folder / "new.png")
    with pytest.raises(OptionError, match=r"another recipe, or of other photos"):
        run(values_of(folder), tmp_path / "run")


def test_a_longer_run_with_the_same_settings_continues(photos: Path, tmp_path: Path) -> None:
    run(values_of(photos, steps=2), tmp_path / "run")
    assert run(values_of(photos, steps=3), tmp_path / "run").steps == 3


def test_a_loss_that_is_not_finite_names_the_step_and_the_state(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = Objective.run

    def diverge(objective: Objective, batch: Any, step: int) -> Any:
        losses, output = compute(objective, batch, step)
        return ({"pixel": torch.tensor(torch.nan)} if step == 2 else losses), output

    monkeypatch.setattr(Objective, "run", diverge)
    message = r"pixel is not finite at step 3; the last state is .*state.pt"
    with pytest.raises(DivergedError, match=message):
        run(values_of(photos), tmp_path / "run")


def test_a_weight_that_is_not_finite_is_never_saved(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = Objective.run

    def diverge(objective: Objective, batch: Any, step: int) -> Any:
        result = compute(objective, batch, step)
        if step == 3:  # the last one, so no later loss shows it
            with torch.no_grad():
                next(objective.networks["generator"].parameters()).fill_(torch.inf)
        return result

    monkeypatch.setattr(Objective, "run", diverge)
    message = r"a weight of the generator is not finite at step 4; the last state is .*state.pt"
    with pytest.raises(DivergedError, match=message):
        run(values_of(photos), tmp_path / "run")
    weights = load_file(tmp_path / "run" / NETWORK_FILE)
    assert all(value.isfinite().all() for value in weights.values())
    assert torch.load(tmp_path / "run" / STATE_FILE)["step"] == 2


@pytest.mark.parametrize("file", [STATE_FILE, NETWORK_FILE])
def test_a_run_that_was_killed_in_its_last_save_gives_its_last_weights(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    whole = load_file(run(values_of(photos), tmp_path / "whole").network)
    write = state.write_atomically

    def write_or_die(path: Path, data: Any) -> None:
        if path.name == file:
            raise KeyboardInterrupt
        write(path, data)

    run(values_of(photos, steps=2), tmp_path / "run")
    monkeypatch.setattr(state, "write_atomically", write_or_die)
    with pytest.raises(KeyboardInterrupt):
        run(values_of(photos), tmp_path / "run")
    monkeypatch.undo()
    killed = load_file(run(values_of(photos), tmp_path / "run").network)
    assert all(torch.equal(whole[key], killed[key]) for key in whole)


def test_a_finished_run_makes_its_network_again(photos: Path, tmp_path: Path) -> None:
    values = values_of(photos, steps=2)
    first = run(values, tmp_path / "run").network.read_bytes()
    (tmp_path / "run" / NETWORK_FILE).unlink()
    assert run(values, tmp_path / "run").network.read_bytes() == first


def test_a_full_disk_keeps_the_earlier_state(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(values_of(photos, steps=2), tmp_path / "run")
    before = (tmp_path / "run" / STATE_FILE).read_bytes()
    write = state.write_atomically

    def full(path: Path, data: Any) -> None:
        if path.name == STATE_FILE:
            raise DiskFullError("no space left")
        write(path, data)

    monkeypatch.setattr(state, "write_atomically", full)
    with pytest.raises(DiskFullError):
        run(values_of(photos, steps=4), tmp_path / "run")
    assert (tmp_path / "run" / STATE_FILE).read_bytes() == before
    monkeypatch.undo()
    assert run(values_of(photos, steps=4), tmp_path / "run").steps == 4
    assert (tmp_path / "run" / EARLIER_STATE_FILE).exists()


def test_broken_photos_are_left_out_up_to_a_share(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", 9)
    (folder / "broken.png").write_bytes(b"no picture")
    run(values_of(folder, steps=1), tmp_path / "run")
    (folder / "broken2.png").write_bytes(b"no picture")
    with pytest.raises(OptionError, match=r"2 of 11 photos .* cannot be used, at most 10%"):
        run(values_of(folder, steps=1), tmp_path / "other")


def test_a_folder_of_too_small_photos_is_refused(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", 2, side=64)
    values = values_of(folder)
    values["data"]["max_broken"] = 1.0
    with pytest.raises(OptionError, match="has 0 photos of at least 96 pixels"):
        run(values, tmp_path / "run")


def test_two_runs_in_one_folder_are_refused(photos: Path, tmp_path: Path) -> None:
    def second(_: Any) -> None:
        with pytest.raises(OptionError, match="another run is writing"):
            run(values_of(photos), tmp_path / "run")

    run(values_of(photos, steps=1), tmp_path / "run", report=second)


@pytest.mark.slow
def test_two_processes_train_like_one_with_the_joint_batch(photos: Path, tmp_path: Path) -> None:
    values = values_of(photos, steps=6)
    alone = run(values, tmp_path / "alone")
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            from pathlib import Path
            from restora_training import make_recipe, train
            train(make_recipe({values!r}, folder=Path()), Path({str(tmp_path / "both")!r}))
            """
        )
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*command, str(script)], check=True, env=environment, timeout=120)
    first, second = load_file(alone.network), load_file(tmp_path / "both" / NETWORK_FILE)
    for key in first:
        # means over two halves round differently from one mean; Adam's first steps are rate * sign
        torch.testing.assert_close(first[key], second[key], rtol=0, atol=2e-5)


@pytest.mark.slow
def test_two_processes_stop_after_the_same_step(photos: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import os
            from pathlib import Path
            from restora_training import make_recipe, train
            asked = iter([False, os.environ["RANK"] == "1", False, False]).__next__
            recipe = make_recipe({values_of(photos, save=4)!r}, folder=Path())
            result = train(recipe, Path({str(tmp_path / "run")!r}), should_stop=asked)
            Path({str(tmp_path)!r}, os.environ["RANK"]).write_text(str(result.steps))
            """
        )
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*command, str(script)], check=True, env=environment, timeout=120)
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["2", "2"]
    assert torch.load(tmp_path / "run" / STATE_FILE)["step"] == 2
