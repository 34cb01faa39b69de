"""What the process shows of itself."""

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from toyrental.customer_proxy.server import Listening, follow_certificate


async def test_a_renewed_certificate_is_shown_without_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = trustme.CA()
    listening = Listening("127.0.0.1", 0, tmp_path / "tls.crt", tmp_path / "tls.key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls = ssl.create_default_context()
    authority.configure_trust(tls)

    def renew() -> int:
        issued = authority.issue_cert("127.0.0.1")
        issued.cert_chain_pems[0].write_to_path(listening.certificate)
        issued.private_key_pem.write_to_path(listening.key)
        pem = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
        return hash(pem)

    async def shown() -> int:
        _, writer = await asyncio.open_connection(*address, ssl=tls)
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return hash(found)

    old = renew()
    context.load_cert_chain(listening.certificate, listening.key)
    server = await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context
    )
    address = server.sockets[0].getsockname()[:2]
    following = asyncio.create_task(follow_certificate(context, listening, 0.01))
    async with server, asyncio.timeout(30):
        assert await shown() == old
        # Half of it is written
        key = listening.key.read_bytes()
        new = renew()
        listening.key.write_bytes(key)
        while "cannot be read" not in caplog.text:
            assert await shown() == old
        assert await shown() == old
        # And then all of it
        new = renew()
        while await shown() != new:
            pass
    following.cancel()
