"""The customer proxy: the API server as a customer may see it, their own orders and the stock.

RBAC allows a list as a whole or refuses it. In front of the API server, this forces a field
selector into each; docs/decisions/customers-reading.md tells why that holds.
"""
