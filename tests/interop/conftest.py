import optuna
import pytest

from visutility.core.clock import SimulatedClock
from visutility.store import Store, upgrade


@pytest.fixture
def store(tmp_path):
    found = Store(f"sqlite:///{tmp_path}/visutility.db", SimulatedClock())
    upgrade(found)
    yield found
    found.close()


@pytest.fixture(autouse=True, scope="session")
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
