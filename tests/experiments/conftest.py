import pytest

from gleak_lib.experiments import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results", tmp_path / "weights")


@pytest.fixture
def log(tmp_path):
    return str(tmp_path / "log.txt")
