"""Toss Payments as a provider, by its billing keys."""

from toyrental.payments.providers.toss.adapter import API, TossProvider

__all__ = ["API", "TossProvider"]
