"""What can go wrong with a cluster, in words for the person who asked for it."""


class ClusterError(RuntimeError):
    """The cluster, or a program that it takes, did not do what was asked."""


class CannotRunError(ValueError):
    """This machine cannot run what was asked for; the message says what it lacks and what to do."""
