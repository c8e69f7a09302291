"""Where the page's server listens, and under which names it answers.

A stranger's site can give its own name our address once its page is loaded (DNS rebinding), and is
then of our origin to the browser, even on loopback. It shows in the name that the browser asks for:
it is not ours. An address in digits cannot be given to another machine like that.
"""

import ipaddress
import re
import socket
from typing import Any

_HOST = re.compile(r'(?:\[([0-9A-Fa-f:.]+)\]|([^][:@/\s]+))(?::\d+)?')


def resolve(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    """The family and socket address to listen on; of a name with both, the IPv4 one.

    Args:
      host: an address, IPv4 or IPv6, or a name of this machine.
      port: the port.

    Raises:
      OSError, UnicodeError: the name is none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, address


def is_ours(asked: str | None, host: str, bound: str) -> bool:
    """Whether a request's `Host` names this server.

    Ours are localhost, `host` as the user gave it, and of addresses in digits: those of loopback if
    we listen there, all if we listen on all, else the one that we listen on.

    Args:
      asked: the header, with or without a port; None where there is none.
      host: what the user gave as --host.
      bound: the address that it came to, in digits.
    """
    parts = _HOST.fullmatch(asked or '')
    if parts is None:
        return False
    name = (parts[1] or parts[2]).lower()
    if name in ('localhost', host.lower()):
        return True
    asked_for, ours = _in_digits(name), _in_digits(bound.partition('%')[0])
    if asked_for is None or ours is None:
        return False
    if ours.is_loopback:
        return asked_for.is_loopback
    return ours.is_unspecified or asked_for == ours


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on `host`."""
    address = _in_digits(host)
    return host.lower() == 'localhost' or (address is not None and address.is_loopback)


def page_url(host: str, port: int) -> str:
    """What to open to reach what listens on `host`; of all addresses, ours in the network."""
    address = _in_digits(host)
    if address is not None and address.is_unspecified:
        host = _in_network(address.version == 6)
    return f'http://[{host}]:{port}/' if ':' in host else f'http://{host}:{port}/'


def _in_network(v6: bool) -> str:
    family, loopback, far = (
        (socket.AF_INET6, '::1', '2001:db8::1')
        if v6
        else (socket.AF_INET, '127.0.0.1', '192.0.2.1')
    )
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))  # nothing is sent: it only picks the way out
            return probe.getsockname()[0]
    except OSError:  # no network: our name would be refused
        return loopback


def _in_digits(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
