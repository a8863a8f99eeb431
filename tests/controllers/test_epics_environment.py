"""Where Channel Access looks for IOCs is fixed once per process."""

from __future__ import annotations

import subprocess
import sys

IMPORT = "from flyscan.controllers.epics import use_channel_access as use; import os, sys\n"


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT + code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_importing_the_bindings_does_not_start_channel_access() -> None:
    assert run("print('aioca' in sys.modules)").strip() == "False"


def test_servers_are_named_without_broadcast() -> None:
    printed = run(
        "use('127.0.0.1:5064', 'gateway:5064')\n"
        "print(os.environ['EPICS_CA_ADDR_LIST'], os.environ['EPICS_CA_AUTO_ADDR_LIST'])"
    )

    assert printed.strip() == "127.0.0.1:5064 gateway:5064 NO"


def test_processes_started_later_can_be_pointed_elsewhere() -> None:
    printed = run(
        "use('127.0.0.1:5064')\n"
        "import aioca\n"
        "use('127.0.0.1:5066', here=False)\n"
        "print(os.environ['EPICS_CA_ADDR_LIST'])"
    )

    assert printed.strip() == "127.0.0.1:5066"


def test_changing_it_later_is_refused() -> None:
    printed = run(
        "use('127.0.0.1:5064')\n"
        "import aioca\n"
        "use('127.0.0.1:5064')\n"
        "from flyscan.errors import ConfigurationError\n"
        "try:\n"
        "    use('127.0.0.1:5066')\n"
        "except ConfigurationError as error:\n"
        "    print(error)\n"
    )

    assert printed.strip() == (
        "EPICS_CA_ADDR_LIST: Channel Access is in use already and cannot be pointed at "
        "127.0.0.1:5066. Remedy: call use_channel_access first, or set the variables in the shell"
    )
