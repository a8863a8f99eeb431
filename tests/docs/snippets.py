"""Runs the code of a documentation page: ``python tests/docs/snippets.py PAGE``.

Fenced blocks are run in order, Python ones in one namespace with ``await`` allowed:

- ```` ```python ```` is executed,
- ```` ```sh ````, ```` ```bash ```` and ```` ```console ```` are checked by the shell's parser,
- any other language is left alone.

A comment on the line before a fence changes that:

- ``<!-- skip: reason -->``: leave the block alone,
- ``<!-- run -->``: execute the shell block,
- ``<!-- output -->``: the block is what the block before it printed; ``...`` stands for any text.

A page that says ``<!-- needs: nanoprobe -->`` finds the ready line of ``flyscan-sim nanoprobe`` as
the dictionary ``endpoints``, and Channel Access pointed at it.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NEEDS = re.compile(r"<!--\s*needs:\s*(\w+)\s*-->")
FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}|~{3,}) *(?P<language>[^\s`]*)")
COMMENT = re.compile(r"^ *<!--\s*(?P<word>skip: *\S.*?|run|output)\s*-->\s*$")
SHELLS = ("sh", "bash", "console")


class SnippetError(Exception):
    """A block did not do what the page says."""


@dataclass(frozen=True)
class Block:
    """A fenced block: where its first line is (from 1), its language, text and comment."""

    line: int
    language: str
    text: str
    comment: str


def needs(page: str) -> str | None:
    """What has to run while the page does."""
    found = NEEDS.search(page)
    return found.group(1) if found else None


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a page, nested fences being text of the outer one."""
    lines = page.splitlines()
    at = 0
    while at < len(lines):
        fence = FENCE.match(lines[at])
        at += 1
        if fence is None:
            continue
        comment = COMMENT.match(lines[at - 2]) if at > 1 else None
        begin = at
        closing = re.compile(rf"^ *{re.escape(fence['ticks'])}{fence['ticks'][0]}* *$")
        while at < len(lines) and not closing.match(lines[at]):
            at += 1
        indent = len(fence["indent"])
        text = "\n".join(line[indent:] for line in lines[begin:at])
        yield Block(begin + 1, fence["language"], text, comment["word"] if comment else "")
        at += 1


class PageRunner:
    """Runs the blocks of one page in a directory of its own."""

    def __init__(self, name: str, endpoints: dict[str, Any] | None) -> None:
        self._name = name
        self._namespace: dict[str, Any] = {"__name__": "__main__"}
        if endpoints is not None:
            self._namespace["endpoints"] = endpoints
        self._printed = ""

    def run(self, page: str) -> int:
        """Run all blocks; how many were executed."""
        executed = 0
        with asyncio.Runner() as runner:
            for block in blocks(page):
                executed += self._run_block(block, runner)
        return executed

    def _run_block(self, block: Block, runner: asyncio.Runner) -> bool:
        if block.comment.startswith("skip"):
            return False
        if block.comment == "output":
            self._compare(block)
            return False
        if block.language == "python":
            self._printed = self._python(block, runner)
            return True
        if block.language in SHELLS:
            return self._shell(block)
        return False

    def _python(self, block: Block, runner: asyncio.Runner) -> str:
        code = compile(
            "\n" * (block.line - 1) + block.text,
            self._name,
            "exec",
            flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
            dont_inherit=True,
        )
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            if code.co_flags & inspect.CO_COROUTINE:
                runner.run(self._awaited(code))
            else:
                exec(code, self._namespace)
        return printed.getvalue()

    async def _awaited(self, code: Any) -> None:
        await eval(code, self._namespace)

    def _shell(self, block: Block) -> bool:
        commands = re.sub(r"^\$ ", "", block.text, flags=re.MULTILINE)
        run = block.comment == "run"
        options = ["-euo", "pipefail", "-c"] if run else ["-n", "-c"]
        done = subprocess.run(["bash", *options, commands], capture_output=True, text=True)
        self._printed = done.stdout
        if done.returncode:
            raise SnippetError(
                f"{self._name}:{block.line}: shell block ended with {done.returncode}\n"
                f"{done.stdout}{done.stderr}"
            )
        return run

    def _compare(self, block: Block) -> None:
        pattern = ".*?".join(map(re.escape, block.text.strip().split("...")))
        if not re.fullmatch(pattern, self._printed.strip(), flags=re.DOTALL):
            raise SnippetError(
                f"{self._name}:{block.line}: the page says\n{block.text}\n"
                f"but the block before it printed\n{self._printed}"
            )


def main(path: str) -> None:
    """Run the page at `path`; the ready line of what it needs comes in FLYSCAN_ENDPOINTS."""
    page = Path(path).resolve()
    ready = os.environ.get("FLYSCAN_ENDPOINTS")
    with tempfile.TemporaryDirectory() as directory, contextlib.chdir(directory):
        runner = PageRunner(str(page), json.loads(ready) if ready else None)
        executed = runner.run(page.read_text(encoding="utf-8"))
    print(f"{executed} blocks executed")


if __name__ == "__main__":
    main(sys.argv[1])
