"""The Toy Rental Operator: a toy-rental shop, run as Kubernetes resources."""

__version__ = "0.1.0"
