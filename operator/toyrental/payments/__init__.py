"""Payments: charging and refunding through real providers, never twice, never lost."""
