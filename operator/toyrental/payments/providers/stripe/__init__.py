"""Stripe as a provider, by its PaymentIntents API."""

from toyrental.payments.providers.stripe.adapter import API, StripeProvider

__all__ = ["API", "StripeProvider"]
