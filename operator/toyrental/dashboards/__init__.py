"""Dashboards: the owner's view of the shop, a read model of its own."""
