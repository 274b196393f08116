"""Presets and variants: what they build and what they refuse."""

from __future__ import annotations

import pytest
import torch

from unshaken.benchmark import variants
from unshaken.benchmark.contenders import field_of
from unshaken.benchmark.setting import PRESETS, Setting, setting_of
from unshaken.benchmark.variants import VARIANTS, Variant
from unshaken.methods import catalog
from unshaken.methods.catalog import Shape

TINY = Setting("tiny", "mlp", 1, (6,), 3, 4, "adam", (5,), examples=7)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_the_papers_network(name):
    setting = PRESETS[name]
    x, y, index = setting.batch()
    network = setting.build()
    assert network.training
    assert network(x[:2]).shape == (2, setting.classes)
    assert x.shape == (setting.batch_size, setting.channels, *setting.size)
    assert int(y.max()) < setting.classes
    assert int(index.max()) < setting.examples


def test_weights_and_batches_are_always_the_same():
    first, second = TINY.build().state_dict(), TINY.build().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(TINY.batch()[0], TINY.batch()[0])


def test_one_number_is_the_size_of_every_axis():
    assert setting_of("conv_small", size=(16,)).size == (16, 16)
    assert setting_of("sinusoids_mlp", size=(50,)).size == (50,)
    assert setting_of("mlp", size=(5, 7), channels=2).size == (5, 7)
    assert setting_of("mlp", size=(), channels=9).size == ()


def test_double_precision_is_for_everything():
    setting = setting_of("sinusoids_mlp", precision="64")
    assert {p.dtype for p in setting.build().parameters()} == {torch.float64}
    field = field_of(setting, [variants.named("vat"), variants.named("xvat-transductive")])
    for contender in (field.plain, *field.others):
        assert contender.loss().dtype == torch.float64


def test_autocast_reaches_the_network():
    setting = setting_of("sinusoids_mlp", precision="bf16")
    found = []
    field = field_of(setting, [variants.named("at-l2")])
    field.network.register_forward_hook(lambda _, __, out: found.append(out.dtype))
    field.plain.loss()
    assert found == [torch.bfloat16]


def test_steps_train_nothing_and_everything_is_computed():
    field = field_of(TINY, [v for v in VARIANTS if v.fits(TINY.size)])
    before = [p.detach().clone() for p in field.network.parameters()]
    for contender in (field.plain, *field.others):
        contender.clear()
        contender.work()
        trained = {id(p) for g in contender.optimizer.param_groups for p in g["params"]}
        if contender.name != "dropout":
            assert {id(p) for p in field.network.parameters()} <= trained
            assert all(p.grad is not None for p in field.network.parameters())
        contender.clear()
        assert all(p.grad is None for p in field.network.parameters())
    after = list(field.network.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_mask_players_are_trained_by_both():
    field = field_of(TINY, [variants.named("xvat")])
    for contender in field.others:
        groups = contender.optimizer.param_groups
        assert [group["lr"] for group in groups] == [0.0, 1e-6]


def test_all_are_the_catalogs_and_more():
    for size in ((), (9,), (8, 8)):
        names = variants.names_for(size)
        assert set(catalog.names_for(size)) <= set(names)
        assert len(set(names)) == len(names)
        assert all(variants.named(name).fits(size) for name in names)
    assert "vmt-affine" in variants.names_for((8, 8))
    assert "vmt-affine" not in variants.names_for(())


def test_a_catalog_method_needs_no_row():
    assert variants.named("entropy") == Variant("entropy")
    assert [t.name for t in variants.named("entropy").build(Shape(1, (4,), 3))] == ["entropy"]
    with pytest.raises(ValueError, match="method must be one of"):
        variants.named("nothing")


def test_rows_are_unique():
    names = [variant.name for variant in VARIANTS]
    assert len(set(names)) == len(names)


def test_the_closed_form_takes_the_fewer_of_fields_and_outputs():
    mvat = variants.named("mvat")
    assert mvat.count(Shape(3, (32, 32), 1), 10) == 12
    assert mvat.count(Shape(3, (32, 32), 1), 4) == 10
    assert mvat.count(Shape(1, (100,), 1), 10) == 8
    assert variants.named("vat").count(Shape(3, (32, 32), 1), 10) == 8
    assert variants.named("entropy").count(Shape(3, (32, 32), 1), 10) is None


def test_numbers_are_checked():
    with pytest.raises(ValueError, match="precision must be one of"):
        setting_of("conv_small", precision="16")
    with pytest.raises(ValueError, match="channels must be an integer >= 1"):
        setting_of("conv_small", channels=0)
