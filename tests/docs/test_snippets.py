"""Every code block of the documentation does what the page says."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.snippets import blocks, needs

ROOT = Path(__file__).resolve().parents[2]
RUNNER = Path(__file__).with_name("snippets.py")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
READY_S = 30
PAGE_S = 110


def run_page(page: Path, extra: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A process of its own for each page: Channel Access' settings last as long as a process."""
    bin_directory = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{bin_directory}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        [sys.executable, str(RUNNER), str(page)],
        env=environment | (extra or {}),
        capture_output=True,
        text=True,
        timeout=PAGE_S,
    )


@contextmanager
def simulator(world: str) -> Iterator[dict[str, str]]:
    """`flyscan-sim` while the page runs; environment variables that tell the page about it."""
    command = [sys.executable, "-m", "flyscan_sim", world, "--exit-with-parent"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True) as process:
        try:
            assert process.stdout is not None
            with selectors.DefaultSelector() as ready:
                ready.register(process.stdout, selectors.EVENT_READ)
                assert ready.select(READY_S), f"flyscan-sim {world}: no ready line in {READY_S} s"
            line = process.stdout.readline()
            ca = json.loads(line)["ca"]
            yield {
                "FLYSCAN_ENDPOINTS": line,
                "EPICS_CA_ADDR_LIST": f"{ca['host']}:{ca['port']}",
                "EPICS_CA_AUTO_ADDR_LIST": "NO",
            }
        finally:
            process.terminate()
            process.wait(timeout=10)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page(page: Path) -> None:
    world = needs(page.read_text(encoding="utf-8"))
    if world is None:
        done = run_page(page)
    else:
        with simulator(world) as extra:
            done = run_page(page, extra)

    assert done.returncode == 0, done.stdout + done.stderr


def written(directory: Path, text: str) -> Path:
    page = directory / "page.md"
    page.write_text(text, encoding="utf-8")
    return page


GOOD = """
```python
import asyncio
total = 1
```

1. A list with an indented block:

   ```python
   total += await asyncio.sleep(0, 2)
   print("total", total, object())
   ```

   <!-- output -->
   ```text
   total 3 <object ...>
   ```

<!-- run -->
```console
$ echo "shell $((1 + 1))"
```

<!-- output -->
```text
shell 2
```

<!-- skip: needs hardware -->
```python
raise RuntimeError
```

```sh
false  # parsed, not run
```
"""


def test_blocks_run_in_order_in_one_namespace(tmp_path: Path) -> None:
    done = run_page(written(tmp_path, GOOD))

    assert done.returncode == 0, done.stderr
    assert done.stdout == "3 blocks executed\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("\n\n```python\n1 / 0\n```\n", 'page.md", line 4, in <module>'),
        (
            "```python\nprint(1)\n```\n<!-- output -->\n```text\n2\n```\n",
            "page.md:6: the page says",
        ),
        ("```sh\nif true\n```\n", "page.md:2: shell block ended with 2"),
        ("<!-- run -->\n```sh\nfalse\n```\n", "page.md:3: shell block ended with 1"),
        ("```python\nendpoints\n```\n", "name 'endpoints' is not defined"),
    ],
)
def test_a_block_that_is_wrong_fails_its_page(tmp_path: Path, text: str, complaint: str) -> None:
    done = run_page(written(tmp_path, text))

    assert done.returncode != 0
    assert complaint in done.stderr


def test_a_page_says_what_it_needs(tmp_path: Path) -> None:
    text = "<!-- needs: nanoprobe -->\n```python\nprint(endpoints['ca'])\n```\n"
    page = written(tmp_path, text)

    assert needs(text) == "nanoprobe"
    assert needs(GOOD) is None
    done = run_page(page, {"FLYSCAN_ENDPOINTS": '{"ca": {"host": "127.0.0.1"}}'})
    assert done.returncode == 0, done.stderr


MEETING = """
<!-- needs: nanoprobe -->
```python
from flyscan.controllers import EpicsMotion

stage = EpicsMotion("coarse", {"x": {"pv": endpoints["ca"]["motors"][0]}})
await stage.connect()
print(await stage.position())
await stage.close()
```

<!-- output -->
```text
{'x': ...}
```
"""


def test_a_page_meets_the_simulator_it_needs(tmp_path: Path) -> None:
    with simulator("nanoprobe") as extra:
        done = run_page(written(tmp_path, MEETING), extra)

    assert done.returncode == 0, done.stderr


def test_a_fence_within_a_longer_fence_is_text() -> None:
    (block,) = blocks("````markdown\n```python\n1 / 0\n```\n````\n")

    assert block.language == "markdown"
