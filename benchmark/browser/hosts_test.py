import socket

import pytest

from benchmark.browser.hosts import is_loopback, is_ours, page_url, resolve


@pytest.mark.parametrize(
    ('asked', 'host', 'bound', 'ours'),
    [
        ('127.0.0.1:8000', '127.0.0.1', '127.0.0.1', True),
        ('localhost:8000', '127.0.0.1', '127.0.0.1', True),
        ('LOCALHOST', '127.0.0.1', '127.0.0.1', True),
        ('127.0.0.2:8000', '127.0.0.1', '127.0.0.1', True),
        ('[::1]:8000', '::1', '::1', True),
        ('evil.example:8000', '127.0.0.1', '127.0.0.1', False),
        ('127.0.0.1.evil.example', '127.0.0.1', '127.0.0.1', False),
        ('localhost.evil.example:8000', '127.0.0.1', '127.0.0.1', False),
        ('evil.example@127.0.0.1', '127.0.0.1', '127.0.0.1', False),
        ('127.0.0.1:8000, evil.example', '127.0.0.1', '127.0.0.1', False),
        ('192.168.1.5:8000', '127.0.0.1', '127.0.0.1', False),
        ('[::1', '::1', '::1', False),
        ('::1', '::1', '::1', False),
        ('', '127.0.0.1', '127.0.0.1', False),
        (None, '127.0.0.1', '127.0.0.1', False),
        # on all addresses: any in digits, no name
        ('192.168.1.5:8000', '0.0.0.0', '0.0.0.0', True),
        ('[fe80::1]:8000', '::', '::', True),
        ('localhost:8000', '0.0.0.0', '0.0.0.0', True),
        ('evil.example:8000', '0.0.0.0', '0.0.0.0', False),
        # on one address, or by a name that the user gave
        ('192.168.1.5:8000', '192.168.1.5', '192.168.1.5', True),
        ('192.168.1.6:8000', '192.168.1.5', '192.168.1.5', False),
        ('desk.local:8000', 'Desk.local', '192.168.1.5', True),
        ('192.168.1.5:8000', 'desk.local', '192.168.1.5', True),
        ('evil.example:8000', 'desk.local', '192.168.1.5', False),
        ('[fe80::1]:8000', 'fe80::1%eth0', 'fe80::1%eth0', True),
    ],
)
def test_a_server_answers_under_its_own_names_only(asked, host, bound, ours):
    assert is_ours(asked, host, bound) == ours


def test_an_address_has_its_family_and_a_name_that_of_ipv4():
    assert resolve('127.0.0.1', 80) == (socket.AF_INET, ('127.0.0.1', 80))
    assert resolve('localhost', 80) == (socket.AF_INET, ('127.0.0.1', 80))
    family, address = resolve('::1', 80)
    assert (family, address[:2]) == (socket.AF_INET6, ('::1', 80))


@pytest.mark.parametrize(
    ('host', 'alone', 'url'),
    [
        ('127.0.0.1', True, 'http://127.0.0.1:80/'),
        ('localhost', True, 'http://localhost:80/'),
        ('::1', True, 'http://[::1]:80/'),
        ('10.1.2.3', False, 'http://10.1.2.3:80/'),
        ('fe80::2', False, 'http://[fe80::2]:80/'),
        ('127.evil.example', False, 'http://127.evil.example:80/'),
    ],
)
def test_what_to_open_and_who_can(host, alone, url):
    assert (is_loopback(host), page_url(host, 80)) == (alone, url)


@pytest.mark.parametrize('host', ['0.0.0.0', '::'])
@pytest.mark.parametrize('has_network', [True, False])
def test_on_all_addresses_the_one_to_open_is_answered(host, has_network, monkeypatch):
    def no_network(*_):
        raise OSError

    if not has_network:
        monkeypatch.setattr(socket, 'socket', no_network)
    url = page_url(host, 80)
    assert url not in ('http://0.0.0.0:80/', 'http://[::]:80/')
    assert not is_loopback(host)
    assert is_ours(url.removeprefix('http://').removesuffix('/'), host, host)
