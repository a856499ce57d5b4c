import pytest

from gleak_lib.errors import ParameterError, UnknownNameError
from gleak_lib.federated import Protocol


def test_defaults_are_the_papers():
    p = Protocol()
    assert (p.clients, p.rounds, p.local_epochs, p.batch_size) == (10, 300, 1, 64)
    assert (p.optimizer, p.lr, p.betas) == ("adam", 1e-3, (0.9, 0.999))
    assert (p.val_fraction, p.patience, p.weighted, p.halve_lr_after) == (0.1, 40, True, None)


def test_is_hashable_even_from_lists_as_yaml_gives_them():
    p = Protocol(betas=[0.9, 0.999], samples_per_class=[1, 10])  # type: ignore[arg-type]
    assert hash(p) == hash(Protocol())
    assert p.replace(rounds=5) == Protocol(rounds=5)


@pytest.mark.parametrize(
    ("setting", "match"),
    [
        ({"clients": 0}, "clients must be an integer of at least 1, got 0"),
        ({"rounds": -1}, "rounds must be an integer of at least 0, got -1"),
        ({"rounds": 2.5}, "rounds must be an integer"),
        ({"rounds": True}, "rounds must be an integer .* got True"),
        ({"batch_size": "64"}, "batch_size must be an integer .* got '64'"),
        ({"local_epochs": 0}, "local_epochs"),
        ({"patience": 0}, "patience must be an integer of at least 1"),
        ({"halve_lr_after": 0}, "halve_lr_after"),
        ({"clients_per_round": 11}, "clients_per_round must be at most the number of clients, 10, got 11"),
        ({"lr": 0.0}, "lr must be a positive number, got 0.0"),
        ({"lr": float("nan")}, "lr must be a positive number"),
        ({"lr": "1e-3"}, "lr must be a positive number, got '1e-3'"),
        ({"val_fraction": 1.0}, "val_fraction must be a number of at least 0 and below 1"),
        ({"betas": (0.9,)}, "betas must be two numbers"),
        ({"betas": (0.9, 1.0)}, r"betas must be two numbers in \[0, 1\)"),
        ({"samples_per_class": (5, 2)}, "samples_per_class must be two integers"),
        ({"weighted": "yes"}, "weighted must be True or False"),
    ],
)
def test_refuses_wrong_values_by_name(setting, match):
    with pytest.raises(ParameterError, match=match):
        Protocol(**setting)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: Protocol(optimizer="adams"), "optimizer 'adams'. Did you mean 'adam'"),  # type: ignore[arg-type]
        (lambda: Protocol(partition="byclass"), "partition 'byclass'. Did you mean 'by_class'"),  # type: ignore[arg-type]
        (lambda: Protocol().replace(round=3), "setting 'round'. Did you mean 'rounds'"),
    ],
)
def test_unknown_names_get_the_nearest(call, match):
    with pytest.raises(UnknownNameError, match=match):
        call()
