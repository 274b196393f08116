import dataclasses
import json
import math

import pytest

from unshaken.training import TrainingConfig


def make(**changes) -> TrainingConfig:
    return TrainingConfig(**{"steps": 10, "batch_size": 4, **changes})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("steps", 2.5),
        ("steps", True),
        ("batch_size", 0),
        ("unlabeled_batch_size", -1),
        ("optimizer", "lamb"),
        ("lr", -1.0),
        ("lr", math.nan),
        ("lr", "fast"),
        ("momentum", 1.0),
        ("weight_decay", -0.1),
        ("decay_norms", "yes"),
        ("schedule", "step"),
        ("schedule", "linear"),
        ("schedule", "linear:1"),
        ("schedule", "linear:x"),
        ("schedule", "exponential:0.9"),
        ("schedule", "exponential:1.1:5"),
        ("schedule", "exponential:0.9:0.5"),
        ("schedule", "cosine:2"),
        ("schedule", 3),
        ("warmup", -1),
        ("warmup_shape", "square"),
        ("ema", 1.0),
        ("ema", -0.1),
        ("clip", 0.0),
        ("accumulate", 0),
        ("precision", "8"),
        ("seed", -1),
        ("evaluate_every", -1),
        ("checkpoint_every", 0),
        ("checkpoint_seconds", -1.0),
        ("keep", 0),
    ],
)
def test_a_bad_value_is_named_in_one_sentence(name, value):
    with pytest.raises((TypeError, ValueError)) as error:
        make(**{name: value})
    sentence = str(error.value)
    assert sentence.startswith(name)
    assert repr(value) in sentence
    assert "\n" not in sentence


def test_it_survives_a_round_trip_through_json():
    config = make(schedule="exponential:0.9:500", ema=0.99, clip=1, checkpoint_seconds=2.5)
    assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_unknown_and_missing_fields_are_named():
    with pytest.raises(ValueError, match="no field 'batchsize'; did you mean 'batch_size'"):
        TrainingConfig.from_dict({"steps": 1, "batchsize": 2})
    with pytest.raises(ValueError, match="needs the field 'batch_size'"):
        TrainingConfig.from_dict({"steps": 1})


def test_the_first_field_that_matters_is_named():
    free = {"evaluate_every": 3, "checkpoint_every": 7, "checkpoint_seconds": 1.0, "keep": 9}
    assert make().difference(make(**free)) is None
    assert make().difference(make(lr=0.5, seed=3, keep=9)) == "lr"
    for field in dataclasses.fields(TrainingConfig):
        assert field.name in free or field.name in {
            "steps",
            "channels_last",
            "batch_size",
            "unlabeled_batch_size",
            "optimizer",
            "lr",
            "momentum",
            "weight_decay",
            "decay_norms",
            "decay_adversaries",
            "schedule",
            "warmup",
            "warmup_shape",
            "ema",
            "swa",
            "clip",
            "accumulate",
            "precision",
            "compile",
            "seed",
        }, f"say whether {field.name} may change when a run is resumed"
