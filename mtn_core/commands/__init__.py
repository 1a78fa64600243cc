"""The subcommands of ``mtn``: each module has ``register(subparsers)``; handlers return exit codes.

Handlers import what they need when they run, so that ``mtn --help`` is quick and analysis commands
never load mindspore.
"""
