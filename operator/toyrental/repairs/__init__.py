"""Repairs: what happens to a damaged toy, until it is repaired or discarded."""
