import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def device():
    from mtn_core.device import setup_device

    return setup_device("CPU")
