"""Research workbook for joint vehicle re-identification and attribute classification.

The package is used through its modules (``from mtn_core.data.split import load_split``). Importing
it has one documented side effect, see :mod:`mtn_core.environment`.
"""

from mtn_core.environment import guard_environment

__version__ = "0.1.0"

guard_environment()
