"""Loaded by every Python process that a tested notebook starts: nothing beyond this machine can be reached.

An audit hook sees each connection, look-up and datagram that Python code makes, in whatever library, and
cannot be removed again. Loopback and Unix sockets stay open: the kernel itself talks through them.
"""

import ipaddress
import socket
import sys

CONNECTIONS = {"socket.connect", "socket.sendto", "socket.sendmsg"}
LOOKUPS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}


def is_this_machine(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    if not isinstance(host, str) or host in ("", "localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False  # a name, which only a name server could resolve
    return address.is_loopback or address.is_unspecified


def refuse_network(event: str, args: tuple) -> None:
    if event in CONNECTIONS:
        host = args[1][0] if isinstance(args[1], tuple) else None
    elif event in LOOKUPS:
        host = args[0]
    else:
        return
    if not is_this_machine(host):
        raise OSError(
            f"The tests run notebooks without a network, and this one tried to reach {host}. Use embedded data, "
            "or catch the error and show the reader what works offline."
        )


sys.addaudithook(refuse_network)
