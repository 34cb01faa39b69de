"""Plain HTTP to programs on this machine."""

import ssl

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""As httpx's `verify`, it trusts nobody. Without it each client, and each request that has none,
reads all the world's certificate authorities: 30 ms of CPU, and who waits asks again and again."""
