from __future__ import annotations

import os
import signal
import socket

import pytest

from pinformers._errors import ServeError
from pinformers.serving.listening import listen, until_signalled, url, urls_for_others


def test_a_socket_of_ones_own_port_and_its_url() -> None:
    with listen("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        assert url("http", bound) == f"http://127.0.0.1:{port}"
        with socket.create_connection(("127.0.0.1", port), timeout=20), pytest.raises(ServeError, match="is taken"):
            listen("127.0.0.1", port)
    with listen("localhost", port) as again:
        assert again.getsockname()[1] == port


def test_an_address_of_every_network_is_written_as_this_machines() -> None:
    with listen("0.0.0.0", 0) as bound:
        port = bound.getsockname()[1]
        assert url("https", bound) == f"https://127.0.0.1:{port}"
        others = urls_for_others("https", bound)
        assert others[-1] == f"https://{socket.gethostname()}:{port}"
        assert not any("127.0.0.1" in place or "0.0.0.0" in place for place in others)
    with listen("127.0.0.1", 0) as bound:
        assert urls_for_others("http", bound) == [url("http", bound)]


@pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="needs IPv6")
def test_ipv6_is_written_in_brackets() -> None:
    with listen("::1", 0) as bound:
        assert url("http", bound) == f"http://[::1]:{bound.getsockname()[1]}"


@pytest.mark.parametrize("host", ["a..b", "192.0.2.1", ""])
def test_what_is_no_address_here(host: str) -> None:
    with pytest.raises(ServeError) as caught:
        listen(host, 0)
    assert str(caught.value).startswith(host or "--host: ") and str(caught.value).endswith(".")


def test_signals_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with until_signalled() as ended:
        assert not ended.is_set()
        signal.raise_signal(signal.SIGTERM)
        assert ended.wait(10)
    assert signal.getsignal(signal.SIGTERM) is before
