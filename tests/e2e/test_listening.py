"""Where a running stack can be reached: on this machine alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Stack

LISTENING = "0A"  # a socket's state in /proc/net/tcp


def listening() -> Iterator[tuple[str, IPv4Address | IPv6Address, int]]:
    """Inode, address and port of every listening TCP socket."""
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == LISTENING:
                address, port = local.split(":")
                # four bytes at a time, each the other way round
                words = b"".join(bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8))
                yield rest[5], IPv4Address(words) if name == "tcp" else IPv6Address(words), int(port, 16)


def family(pid: int) -> set[int]:
    """A process and all that it has started."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:  # ended meanwhile
        return set()
    return {pid}.union(*(family(int(child)) for child in children))


def sockets(pid: int) -> set[str]:
    """The inodes of a process's open sockets."""
    found = set()
    with contextlib.suppress(FileNotFoundError):  # ended meanwhile
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                found.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells who listens where")
def test_every_part_listens_on_loopback_alone(stack: Stack) -> None:
    if not stack.status:
        pytest.skip("this test looks at the processes of a local stack of its own")
    pids = {part["pid"] for part in stack.status["services"].values() if part["pid"]}
    ours = {inode for pid in pids for one in family(pid) for inode in sockets(one)}
    found = [(address, port) for inode, address, port in listening() if inode in ours]
    assert len(found) >= len(pids) - 1  # the runner listens nowhere
    assert all(address.is_loopback for address, _ in found), found
