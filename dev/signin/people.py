"""Who signs in: the people of the demo's story, and what they are in the shop."""

CUSTOMERS = ("mina", "ryu", "sora", "juno", "nari", "haru", "you")
OWNER = "aya"
REPAIRER = "hana"

GROUPS = {"customers": CUSTOMERS, "owners": (OWNER,), "repairers": (REPAIRER,)}
"""Who is in which group of the provider's."""

ROLES = {
    "customers": "toyrental-customer",
    "owners": "toyrental-store-owner",
    "repairers": "toyrental-repairer",
}
"""What each group may in a shop: the name of a ClusterRole."""

CONTEXTS = {name: name for names in GROUPS.values() for name in names} | {
    "customer": CUSTOMERS[0],
    "owner": OWNER,
    "repairer": REPAIRER,
}
"""The contexts of the kubeconfig: each person by name, and one of each group by what they are."""


def address(name: str) -> str:
    """Return what somebody types at the provider to say who they are."""
    return f"{name}@toys.example"
