"""What can go wrong, said so that a person knows what to do."""


class ClusterError(Exception):
    """A sentence for the person at the keyboard; nothing here is worth a stack trace."""
