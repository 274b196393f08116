import pytest
import torch

from tests.training.helpers import assert_same
from unshaken.comparison.protocol import Protocol, named
from unshaken.comparison.single import Loader, evaluation, prepare, run
from unshaken.methods import catalog

PROTOCOL = named("digits").with_changes(
    training={"steps": 6, "batch_size": 32, "unlabeled_batch_size": 64, "evaluate_every": 3}
)


def without_times(record):
    return {k: v for k, v in record.items() if k not in ("seconds_per_step", "provenance")}


def test_methods_of_one_seed_share_data_split_and_weights():
    a, b = (prepare(PROTOCOL, method, 3, {}) for method in ("baseline", "xvat-transductive+vat"))
    assert_same(a.objective.model.state_dict(), b.objective.model.state_dict())
    assert_same(vars(a.chosen), vars(b.chosen))
    other = prepare(PROTOCOL, "baseline", 4, {})
    assert not torch.equal(a.chosen.labeled, other.chosen.labeled)
    first = next(iter(a.objective.model.state_dict()))
    assert not torch.equal(
        a.objective.model.state_dict()[first], other.objective.model.state_dict()[first]
    )


@pytest.mark.parametrize("method", ["vat", "random", "dropout", "xvat+vmt-all"])
def test_a_run_is_a_function_of_its_arguments(method):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = run(PROTOCOL, method, 2, {}, threads=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    again = run(PROTOCOL, method, 2, {}, threads=1, load=Loader())
    assert without_times(first) == without_times(again)
    assert first["steps"] == 6
    assert [entry["step"] for entry in first["history"]] == [3, 6]
    assert first["error"] == first["history"][-1]["test_error"]
    assert without_times(run(PROTOCOL, method, 1, {})) != without_times(first)


def test_pictures_do_not_change_a_run(tmp_path):
    moons = named("moons").with_changes(
        training={**named("moons").training, "steps": 4, "evaluate_every": 2}
    )
    for protocol in (PROTOCOL, moons):
        plain = run(protocol, "vat", 0, {})
        shown = run(protocol, "vat", 0, {}, pictures=tmp_path)
        assert without_times(plain) == without_times(shown)
    assert (tmp_path / "panels" / "vat.npz").is_file()
    assert (tmp_path / "boundaries" / "vat.npz").is_file()


def test_threads_are_as_before():
    before = torch.get_num_threads()
    run(PROTOCOL, "baseline", 0, {}, threads=before + 1)
    assert torch.get_num_threads() == before


def test_the_loader_remembers_one_set(monkeypatch):
    loaded = []
    load = Loader()
    from unshaken import data

    original = data.load

    def counting(name, **options):
        loaded.append((name, options["seed"]))
        return original(name, **options)

    monkeypatch.setattr(data, "load", counting)
    moons, circles = Protocol("moons"), Protocol("circles")
    first = load(moons, 0)
    assert load(moons, 0) is first
    load(moons, 1)
    load(circles, 1)
    load(moons, 0)
    assert loaded == [("moons", 0), ("moons", 1), ("circles", 1), ("moons", 0)]


def test_the_error_may_be_that_of_a_few_test_examples():
    protocol = PROTOCOL.with_changes(test=7)
    prepared = prepare(protocol, "baseline", 0, {})
    measure = evaluation(prepared, "test", 7)
    assert torch.equal(measure.test[0], prepared.dataset.x_test[:7])
    assert len(measure.train[0]) == 7
    assert 7 * run(protocol, "baseline", 0, {})["error"] / 100 % 1 == pytest.approx(0, abs=1e-9)
    used = catalog.settings_for("vat", {})
    assert protocol.fingerprint("vat", used) != PROTOCOL.fingerprint("vat", used)
    plain = protocol.with_changes(test=None)
    assert plain.fingerprint("vat", used) == PROTOCOL.fingerprint("vat", used)


def test_validation_judges_on_held_out_examples():
    protocol = PROTOCOL.with_changes(validation=100, judge="validation")
    prepared = prepare(protocol, "baseline", 0, {})
    measure = evaluation(prepared, "validation")
    assert torch.equal(measure.test[0], prepared.dataset.x_train[prepared.chosen.validation])
    with pytest.raises(ValueError, match="judge='validation' needs validation >= 1"):
        evaluation(prepare(PROTOCOL, "baseline", 0, {}), "validation")
