"""What goes wrong with the sandbox itself, never with a program in it."""


class SandboxError(RuntimeError):
    """Programs cannot be run here. Its text says what is lacking and what to do."""
