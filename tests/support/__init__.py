"""What tests on a real API server share. Fixtures are in tests/conftest.py:

- `cluster`: the one control plane of the whole run (`dev.cluster.Cluster`), CRDs, policies and
  roles applied. Started when first asked for, stopped at the end of the run, also under
  pytest-xdist. `TOYRENTAL_KUBECONFIG` names another.
- `admin`: an `Api` that may do everything.
- `shop`: a `Shop` in a namespace of its own, as the administrator sees it; deleted afterwards.

A `Shop` speaks in the models::

    toy = shop.create(objects.toy("bear"))                         # -> Toy, as the server has it
    rental = shop.create(objects.rental("first", toy="bear", customer="mina"))
    rental = shop.get(Rental, "first")
    rentals = shop.find(Rental, labels="shelf=3", fields="status.phase=Paid")
    shop.patch(Rental, "first", spec={"desiredState": "Cancelled"})            # merge patch
    shop.set_status(Rental, "first", phase="Pending", conditions=[condition("Paid", "True")])
    shop.delete(Rental, "first"); shop.gone(Rental, "first")
    rental = shop.wait(Rental, "first", lambda r: r.phase == "Rented", within=20)
    shop.events("first")                                           # notes of its Events, in order
    mina = shop.person("mina", can("create get", "rentals"), can("get", "secrets", "card"))
    mina.create(...)                          # the same shop, as that person: a token of their own
    it = shop.person("operator", role="toyrental-operator")         # what a ClusterRole allows here
    it.api.write_kubeconfig(tmp_path / "kubeconfig")                # for a program that is to be it
    shop.secret("card", {"token": "pm_card_visa"})

What the API server refuses raises `Refused` with its `status` (403, 409, 422, ...), `reason` and
`message`; `pytest.raises(Refused, match=...)` looks at all of them. `wait` and `gone` ask again
with growing pauses; when the time is up they fail with the object and its Events as YAML.

Below it, `Api` does the same with plain dicts and any kind: `create`, `apply` (server-side), `get`,
`find`, `patch`, `delete`, `delete_all`. `objects` makes valid resources with as few words as can
be; `eventually` waits for anything else.
"""

from tests.support.api import Api, Json, Refused, can
from tests.support.objects import condition
from tests.support.shop import Shop
from tests.support.waiting import eventually

__all__ = ["Api", "Json", "Refused", "Shop", "can", "condition", "eventually"]
