"""Who else is connected to the box."""

from __future__ import annotations

from ._control import ControlLink
from ._stream import RowStream

__all__ = ["foreign_clients", "others_text"]

Client = tuple[str, str]


async def foreign_clients(control: ControlLink, stream: RowStream | None) -> list[Client]:
    """Kind (``"config"`` or ``"data"``) and address of every client but us."""
    lines = (await control.run("*WHO?"))[0].items
    ours = {control.local_address, stream.local_address if stream is not None else ""}
    clients = [(kind, address) for _, kind, address, *_ in (line.split() for line in lines)]
    return [client for client in clients if client[1] not in ours]


def others_text(clients: list[Client], kind: str | None = None) -> str:
    """For messages: `` (127.0.0.1:4242)``, or nothing."""
    found = sorted({address for what, address in clients if kind in (None, what)})
    return f" ({', '.join(found)})" if found else ""
