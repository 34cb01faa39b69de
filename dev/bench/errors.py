"""What can go wrong, said so that a person knows what to do."""


class BenchError(Exception):
    """A sentence for the person at the keyboard."""
