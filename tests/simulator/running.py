"""The simulator as its users have it: a process of its own, reached over HTTP."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.support.loopback import NO_TLS

TOYRENTAL = Path(sys.executable).with_name("toyrental")
ENDED_SECONDS = 30


class Running:
    """A simulator that has been started on a free port of the loopback interface."""

    def __init__(
        self, ledger: Path | str, errors: Path, *options: str, env: dict[str, str] | None = None
    ) -> None:
        self.errors = errors
        with errors.open("ab") as stderr:
            self._process = subprocess.Popen(
                [
                    TOYRENTAL,
                    "simulator",
                    "--port=0",
                    f"--ledger={ledger}",
                    "--log-format=json",
                    *options,
                ],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=os.environ | (env or {}),
            )
        assert self._process.stdout is not None
        first_line = self._process.stdout.readline()
        if not first_line:
            self._process.stdout.close()
            self.wait()
            raise AssertionError(f"the simulator did not start: {errors.read_text()}")
        self.first_line = first_line
        self.url = re.findall(r"http://[\w.:]+", first_line)[0]
        self.client = httpx.Client(base_url=self.url, timeout=ENDED_SECONDS, verify=NO_TLS)
        admin_url = json.loads(first_line).get("adminUrl") if first_line[0] == "{" else None
        self.admin = httpx.Client(
            base_url=admin_url or "http://none.invalid", timeout=ENDED_SECONDS, verify=NO_TLS
        )

    def next_line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def ask_to_end(self) -> None:
        self._process.terminate()

    def wait(self) -> int:
        return self._process.wait(ENDED_SECONDS)

    def kill(self) -> None:
        self._process.kill()
        self.wait()

    def close(self) -> None:
        self.client.close()
        self.admin.close()
        self.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def charge(self, key: str, **changes: Any) -> httpx.Response:
        return self.client.post(
            "/v1/charges", headers={"Idempotency-Key": key}, json=charge_of(**changes)
        )

    def refund(self, key: str, charge: str, amount: int, **changes: Any) -> httpx.Response:
        body = {"charge": charge, "amount": amount, "metadata": metadata(), **changes}
        return self.client.post("/v1/refunds", headers={"Idempotency-Key": key}, json=body)

    def look_up(self, payment: str = "payment-1") -> list[str]:
        """Give the keys' charges as look-up finds them: their ids."""
        found = self.client.get("/v1/charges", params={"paymentUID": payment})
        return [charge["id"] for charge in found.raise_for_status().json()["data"]]

    def set_fault(self, kind: str, **definition: Any) -> dict[str, Any]:
        answer = self.admin.post("/faults", json={"kind": kind, **definition})
        assert answer.status_code == 201, answer.text
        fault: dict[str, Any] = answer.json()
        return fault

    def faults(self) -> list[dict[str, Any]]:
        faults: list[dict[str, Any]] = self.admin.get("/faults").json()["faults"]
        return faults

    def struck(self) -> list[int]:
        """Give how often each fault struck, in the order they were set."""
        return [fault["struck"] for fault in self.faults()]

    def ledger(self) -> dict[str, list[dict[str, Any]]]:
        """Give the money, and what was declined."""
        books: dict[str, list[dict[str, Any]]] = self.client.get("/ledger").json()
        assert books.keys() == {"charges", "refunds"}
        books |= self.client.get("/ledger/declines").json()
        return books


def metadata(payment: str = "payment-1", rental: str = "rental-1") -> dict[str, str]:
    return {"paymentUID": payment, "rentalUID": rental}


def charge_of(**changes: Any) -> dict[str, Any]:
    return {
        "amount": 15000,
        "currency": "KRW",
        "method": "pm_card_visa",
        "metadata": metadata(),
        **changes,
    }


def error_of(response: httpx.Response) -> dict[str, str]:
    assert response.headers["content-type"] == "application/json"
    error: dict[str, str] = response.json()["error"]
    assert error["message"].endswith((".", "…"))
    return error
