"""The subcommands of ``mtn``: each module has ``register(subparsers)``; handlers return an exit code.

Handlers import what they need when they run, so that ``mtn --help`` is quick and analysis commands
never load mindspore.
"""
