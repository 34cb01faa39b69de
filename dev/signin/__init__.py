"""How people sign in to the embedded control plane: what kubectl runs for each of them.

The other side, the provider and what the API server trusts, is `dev.cluster.oidc`. Nothing is
imported here, for kubectl runs `dev.signin.credential` with each command.
"""
