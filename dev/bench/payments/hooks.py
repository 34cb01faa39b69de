"""Webhooks: the simulator tells the operator of each charge, where a fault is about that."""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dev.bench import shop
from dev.bench.api import Api, Json
from dev.cluster.ports import free

SECRET = "webhooks"  # noqa: S105 - the name of the Secret


@dataclass(frozen=True)
class Hooks:
    """Where the operator listens, and the file with what the simulator signs with."""

    address: str
    secret_file: Path

    @classmethod
    def prepare(cls, folder: Path) -> Self:
        """Choose a free port and a secret."""
        (port,) = free(1)
        secret_file = folder / "webhook-secret"
        secret_file.write_text(secrets.token_hex(16))
        return cls(f"http://127.0.0.1:{port}/webhooks", secret_file)

    @property
    def of_operator(self) -> tuple[str, ...]:
        """The operator's flags."""
        return (f"--webhooks={self.address}",)

    @property
    def of_simulator(self) -> tuple[str, ...]:
        """The simulator's flags."""
        url = f"{self.address}/{shop.NAMESPACE}/simulator"
        return (f"--webhook-url={url}", f"--webhook-secret-file={self.secret_file}")

    async def share(self, api: Api) -> None:
        """Have the shop know the secret, once it has a gateway to name it."""
        secret: Json = {
            "metadata": {"name": SECRET},
            "stringData": {"key": self.secret_file.read_text()},
        }
        await api.create(f"/api/v1/namespaces/{shop.NAMESPACE}/secrets", secret)
        named = {"spec": {"webhookSecretRef": {"name": SECRET, "key": "key"}}}
        await api.patch(f"{shop.PLACE}/paymentgateways/simulator", named)
