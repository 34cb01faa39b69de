"""A payment provider to develop and test against, an HTTP server of its own.

It plays the part of a provider outside the shop: it knows neither Kubernetes nor the rest of the
operator and is reached only over HTTP. Layers, from the outside in, each knowing only those below:

- `command`: the command line
- `server`: the process (socket, signals, logs)
- `app`: HTTP, and nothing of money
- `provider`: what a provider decides (declines, refund limits, idempotency), and nothing of HTTP
- `ledger`: what has happened, in SQLite
- `models`, `answers`, `tokens`: the words they share
"""
