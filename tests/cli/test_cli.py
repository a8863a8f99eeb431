"""The ``flyscan`` command: what it prints, where errors go, and its exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from flyscan.cli import main
from flyscan.demo import SimulatedNanoprobe
from flyscan.errors import ConnectionLostError
from flyscan.storage import kept_frames


def flyscan(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import sys; from flyscan.cli import main; sys.exit(main())"]
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=100, **options
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    return flyscan("demo", "--json", "--out", str(tmp_path_factory.mktemp("demo")))


def result_of(demo: subprocess.CompletedProcess[str]) -> dict[str, object]:
    return json.loads(demo.stdout.splitlines()[-1])


def test_demo_flies_pauses_and_loses_nothing(demo: subprocess.CompletedProcess[str]) -> None:
    assert demo.returncode == 0, demo.stderr
    result = result_of(demo)
    assert {k: result[k] for k in ("rows", "lost", "duplicated", "segments", "pauses")} == {
        "rows": 101 * 101,
        "lost": 0,
        "duplicated": 0,
        "segments": 101,
        "pauses": 1,
    }
    assert 101 * 0.101 < result["duration_s"] < 60
    assert 0 < result["dead_time_ratio"] < 1
    table = demo.stdout.splitlines()[:-1]
    assert any("dead time ratio" in line for line in table)


def test_demo_flies_lines_as_their_data_ask_for(
    demo: subprocess.CompletedProcess[str],
) -> None:
    result = result_of(demo)
    assert result["adaptive_rows"] >= 6 * 201
    assert result["adaptive_lost"] == 0
    assert result["adaptive_decisions"] >= 6
    assert result["adaptive_speed_ratio"] > 2
    assert Path(str(result["adaptive_picture"])).read_bytes().startswith(b"\x89PNG")
    replayed = flyscan("replay", str(result["adaptive_file"]))
    assert (replayed.returncode, replayed.stderr) == (0, "")
    assert "identical" in replayed.stdout


def test_demo_draws_the_map(demo: subprocess.CompletedProcess[str]) -> None:
    result = result_of(demo)
    assert Path(str(result["picture"])).read_bytes().startswith(b"\x89PNG")
    columns = kept_frames(str(result["data_file"]), ["Fe", "I0", "ring"])
    # the spokes of the star hold iron, the gaps between them nearly none
    fluorescence = columns["Fe"] / columns["I0"]
    assert fluorescence.max() > 20 * fluorescence.min()
    assert (columns["ring"] > 0).all()


def test_check_is_content_with_the_demo(demo: subprocess.CompletedProcess[str]) -> None:
    checked = flyscan("check", str(result_of(demo)["data_file"]))
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "10201 of 10201 points kept once" in checked.stdout


def test_check_finds_what_is_missing(
    demo: subprocess.CompletedProcess[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(Path(str(result_of(demo)["data_file"])).read_bytes())
    with h5py.File(damaged, "r+") as file:
        file["entry/data/keep"][137] = 0
    assert main(["check", str(damaged), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["ok"]
    assert any("137" in problem["text"] for problem in report["problems"])


def test_repair_leaves_a_sound_file_alone(
    demo: subprocess.CompletedProcess[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(str(result_of(demo)["data_file"]))
    before = file.read_bytes()
    assert main(["repair", str(file)]) == 0
    assert file.read_bytes() == before
    assert file.name in capsys.readouterr().out


@pytest.mark.parametrize("command", ["check", "repair"])
def test_a_file_that_is_not_there(command: str, tmp_path: Path) -> None:
    done = flyscan(command, str(tmp_path / "nowhere.h5"))
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("flyscan: ")
    assert "nowhere.h5" in line
    assert "Remedy: " in line


def test_demo_refuses_a_missing_directory_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--out", "/nowhere/at/all"]) == 1
    assert capsys.readouterr().err == (
        "flyscan: /nowhere/at/all: is not a directory. Remedy: create it, or choose another\n"
    )


@pytest.mark.parametrize("arguments", [["fly"], ["check"], ["demo", "--fast"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: flyscan" in capsys.readouterr().err


def test_sim_is_flyscan_sim() -> None:
    done = flyscan("sim", "nanoprobe", "--block-period", "never")
    assert done.returncode == 2
    assert "--block-period" in done.stderr


def test_a_simulator_that_does_not_start_is_named() -> None:
    with (
        pytest.raises(ConnectionLostError, match="ended with exit code 2 before it was ready"),
        SimulatedNanoprobe("--no-such-option"),
    ):
        pytest.fail("entered")


@pytest.mark.parametrize(
    "sign",
    [
        pytest.param("flyscan-demo-*", id="its folder, made before anything is started"),
        pytest.param("flyscan-demo-*/*.h5", id="the data of the map"),
    ],
)
def test_ctrl_c_ends_the_demo_and_its_processes(sign: str, tmp_path: Path) -> None:
    """However early, and pressed once: told in one line, nobody left behind."""
    code = "import sys; from flyscan.cli import main; sys.exit(main(['demo', '--json']))"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    while not list(tmp_path.glob(sign)):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode not in (None, 0)
    assert any(line.startswith("flyscan: ") for line in stderr.splitlines())
    with pytest.raises(ProcessLookupError):  # its session is empty
        os.killpg(process.pid, 0)
