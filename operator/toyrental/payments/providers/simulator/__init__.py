"""The simulator as a provider: the client side of `toyrental simulator`."""

from toyrental.payments.providers.simulator.adapter import SimulatorProvider

__all__ = ["SimulatorProvider"]
