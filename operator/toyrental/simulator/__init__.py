"""A payment provider to develop and test against, an HTTP server of its own.

It plays the part of a provider outside the shop: it knows neither Kubernetes nor the rest of the
operator and is reached only over HTTP. Layers, from the outside in, each knowing only those below:

- `command`: the command line
- `server`: the process (sockets, signals, logs)
- `admin`, `gate`, `webhooks`: faults set at run time; the port closed by them; who is told of money
- `app`: the provider's own HTTP API, and nothing of money
- `injection`: what faults do to a request and its answer; `keys`: who may ask
- `wire`: HTTP as both APIs speak it
- `faults`, `fault_kinds`: what is to go wrong, when, and how often it did; nothing of HTTP
- `provider`: what a provider decides (declines, refund limits, idempotency), and nothing of HTTP
- `ledger`: what has happened, in SQLite
- `models`, `answers`, `events`, `tokens`: the words they share
"""
