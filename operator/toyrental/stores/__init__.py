"""Stores: the shop's policy and its stock of toys."""
