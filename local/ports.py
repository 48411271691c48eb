"""Whether the ports of an installation can be had, and who holds one that cannot."""

from __future__ import annotations

import contextlib
import dataclasses

import psutil

from local.errors import PortTaken
from local.installation import Ports, choose_ports, free_port, is_free

__all__ = ["name_holder", "settle_ports"]


def settle_ports(ports: Ports) -> Ports:
    """Make sure that every port is free. Those that people know are promised: PortTaken; the others move silently."""
    known = choose_ports(None)
    people_know = ("backend", "postgres", "web")
    promised = {"gateway"} | {name for name in people_know if getattr(ports, name) == getattr(known, name)}
    moved: dict[str, int] = {}
    for name, port in dataclasses.asdict(ports).items():
        if port and is_free(port):
            continue
        if port and name in promised:
            raise PortTaken(
                "port_taken",
                f"Port {port} ({name}) is taken{name_holder(port)}.",
                "End that program, or start elsewhere: with `./instashare up --port N` all other ports are free ones.",
            )
        moved[name] = free_port([*dataclasses.asdict(ports).values(), *moved.values()])
    return dataclasses.replace(ports, **moved)


def name_holder(port: int) -> str:
    """Who listens on a port, where the system lets us see it: ` by NAME (pid N)`, else nothing."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})" if connection.pid else ""
    return ""
