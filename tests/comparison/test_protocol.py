import pytest

from unshaken.comparison import protocol as module
from unshaken.comparison.protocol import Protocol, from_mapping, named
from unshaken.data import NAMES

SETTINGS = {"vat": {"radius": 1.0, "weight": 1.0}}
BASE = Protocol("digits", labels=100, training={"steps": 10, "batch_size": 4})


def changed(**changes):
    return BASE.with_changes(**changes).fingerprint("vat", SETTINGS)


@pytest.mark.parametrize(
    "changes",
    [
        {"data": "mnist"},
        {"labels": 20},
        {"labels": None},
        {"network": {"name": "mlp", "widths": [3]}},
        {"network": {"name": "conv_small"}},
        {"normalize": "unit"},
        {"validation": 10},
        {"judge": "validation"},
        {"fold": 1},
        {"augment": {"flip": True}},
        *(
            {"training": {**BASE.training, **change}}
            for change in (
                {"steps": 11},
                {"batch_size": 5},
                {"unlabeled_batch_size": 5},
                {"optimizer": "sgd"},
                {"lr": 0.1},
                {"ema": 0.9},
                {"schedule": "cosine"},
                {"precision": "64"},
                {"evaluate_every": 5},  # the record holds the history
            )
        ),
    ],
    ids=str,
)
def test_what_changes_numbers_changes_the_fingerprint(changes):
    assert changed(**changes) != changed()


@pytest.mark.parametrize(
    "changes",
    [
        {"note": "chosen on validation data"},
        # The settings that are used are given beside it.
        {"methods": {"vat": {"radius": 3.0}}},
        {"training": {**BASE.training, "keep": 9, "checkpoint_every": 3, "checkpoint_seconds": 1}},
        # Spelled out or left to the default, in any order.
        {"training": {"batch_size": 4, "lr": 1e-3, "optimizer": "adam", "steps": 10}},
        {"training": {**BASE.training, "seed": 3}},
    ],
    ids=str,
)
def test_what_does_not_leaves_it(changes):
    assert changed(**changes) == changed()


def test_the_fingerprint_covers_method_settings_content_and_version(monkeypatch):
    one = BASE.fingerprint("vat", SETTINGS)
    assert one == BASE.fingerprint("vat", {"vat": {"weight": 1.0, "radius": 1.0}})
    found = {
        one,
        BASE.fingerprint("vat+xvat", SETTINGS),
        BASE.fingerprint("vat", {"vat": {"radius": 2.0, "weight": 1.0}}),
        BASE.fingerprint("vat", SETTINGS, "0123"),
    }
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    assert len(found | {BASE.fingerprint("vat", SETTINGS)}) == 5


@pytest.mark.parametrize("name", NAMES)
def test_every_known_set_has_a_protocol(name):
    protocol = named(name)
    assert protocol.data == name
    assert protocol.config(3).seed == 3
    assert protocol.training["evaluate_every"] < protocol.training["steps"]


def test_a_path_has_the_default_protocol_whatever_it_is_called():
    default = named("some/file.npz")
    assert default.data == "some/file.npz"
    for name in ("./digits", "digits.npz", "default", "moons/"):
        assert named(name).with_changes(data="") == default.with_changes(data="")


def test_an_unknown_field_is_refused():
    with pytest.raises(ValueError, match=r"got 'labls'; did you mean 'labels'\?"):
        from_mapping({"data": "digits", "labls": 3})


def test_settings_that_came_later_leave_earlier_runs_what_they_were():
    one = BASE.fingerprint("vat", SETTINGS)
    assert one == BASE.fingerprint("vat", {"vat": {**SETTINGS["vat"], "reverse": 0.0}})
    assert one != BASE.fingerprint("vat", {"vat": {**SETTINGS["vat"], "reverse": 1.0}})


def test_a_setting_that_is_given_leaves_the_others_as_the_protocol_has_them():
    protocol = BASE.with_changes(methods={"vat": {"radius": 0.6}, "at-l2": {"radius": 3.0}})
    assert protocol.settings_of("vat")["vat"]["radius"] == 0.6
    found = protocol.settings_of(
        "vat+vmt-shift", {"vat": {"weight": 2.0}}, {"vat": {"weight": 3.0}}
    )
    assert found["vat"] == {"radius": 0.6, "weight": 3.0, "reverse": 0.0}
    assert found.keys() == {"vat", "vmt-shift"}
    with pytest.raises(ValueError, match="settings of vat must be among"):
        protocol.settings_of("vat", {"vat": {"size": 1.0}})
