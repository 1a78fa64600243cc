"""Research workbook for joint vehicle re-identification and attribute classification.

The package is used through its modules (``from mtn_core.data.split import load_split``). Importing
it has documented side effects, see :mod:`mtn_core.environment` and, where ``MTN_DEVICE_TARGET``
is ``GPU``, :mod:`mtn_core.cuda`.
"""

from mtn_core.cuda import use_cuda
from mtn_core.environment import guard_environment

__version__ = "0.2.0"

guard_environment()
use_cuda()
