"""scikit-learn's own checks of the estimators, and what they promise beyond them."""

from __future__ import annotations

import pickle

import joblib
import numpy as np
import pytest
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, load_iris, make_moons, make_regression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

import unshaken
from unshaken import AT, Mixup, Regularizer, fields
from unshaken.adversaries import SteepestStep
from unshaken.divergences import Function, SquaredError
from unshaken.perturbations import Additive
from unshaken.sklearn import RegularizedClassifier, RegularizedRegressor

EXPECTED = {
    "check_classifiers_classes": "a label of -1 means unlabeled, and the check uses it as a class",
    "check_sample_weight_equivalence_on_dense_data": (
        "batches are drawn at random: a row of weight 2 is not the row twice"
    ),
}


def expected(estimator):
    classifier = isinstance(estimator, RegularizedClassifier)
    return EXPECTED if classifier else {k: v for k, v in EXPECTED.items() if "weight" in k}


@parametrize_with_checks(
    [RegularizedClassifier(), RegularizedRegressor(epochs=30)],
    expected_failed_checks=expected,
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def moons():
    return make_moons(300, noise=0.1, random_state=0)


def few(y, count=5):
    """The labels with all but ``count`` of each class hidden."""
    hidden = np.full(len(y), -1)
    for value in np.unique(y):
        rows = np.flatnonzero(y == value)[:count]
        hidden[rows] = value
    return hidden


def test_the_documented_line():
    X, y = load_iris(return_X_y=True)
    model = RegularizedClassifier(regularizer="vat", epochs=50, random_state=0)
    assert model.fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.9


def test_unlabeled_rows_are_used(moons):
    X, y = moons
    options = {"regularizer": "vat+entropy", "epochs": 20, "random_state": 0}
    all_rows = RegularizedClassifier(**options).fit(X, few(y))
    labeled = few(y) != -1
    without = RegularizedClassifier(**options).fit(X[labeled], y[labeled])
    assert list(all_rows.classes_) == [0, 1]
    assert np.abs(all_rows.predict_proba(X) - without.predict_proba(X)).max() > 0.05


def test_labels_that_are_strings_or_booleans(moons):
    X, y = moons
    names = np.array(["crescent", "arc"], dtype=object)[y]
    names[few(y, 20) == -1] = -1
    model = RegularizedClassifier(epochs=5, random_state=0).fit(X, names)
    assert list(model.classes_) == ["arc", "crescent"]
    assert set(model.predict(X)) <= {"arc", "crescent"}
    plain = RegularizedClassifier(epochs=5, random_state=0).fit(X, y == 1)
    assert plain.classes_.dtype == bool


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_seed_decides_everything_and_nothing_else_moves(moons, early_stopping):
    X, y = moons
    found = []
    for _ in range(2):
        torch.manual_seed(4)
        model = RegularizedClassifier(epochs=3, random_state=7, early_stopping=early_stopping)
        found.append(model.fit(X, y).predict_proba(X))
        assert torch.equal(torch.rand(2), torch.rand(2, generator=torch.Generator().manual_seed(4)))
    np.testing.assert_array_equal(*found)


def test_early_stopping_stops_and_keeps_the_best(moons):
    X, y = moons
    model = RegularizedClassifier(
        epochs=200, early_stopping=True, n_iter_no_change=3, tol=0.0, random_state=0
    ).fit(X, y)
    assert model.n_iter_ < 200
    assert len(model.loss_curve_) == model.n_iter_
    assert model.score(X, y) > 0.9


def test_warm_start_goes_on(moons):
    X, y = moons
    model = RegularizedClassifier(epochs=2, warm_start=True, random_state=0).fit(X, y)
    first = model.module_
    assert model.fit(X, y).module_ is first
    assert model.n_iter_ == 4
    with pytest.raises(ValueError, match="warm_start goes on with the classes"):
        model.fit(X, y + 3)


def test_partial_fit_learns_piece_by_piece(moons):
    X, y = moons
    model = RegularizedClassifier(random_state=0)
    with pytest.raises(ValueError, match="classes must be given in the first call"):
        model.partial_fit(X, y)
    for _ in range(8):
        for part in np.array_split(np.arange(len(X)), 3):
            model.partial_fit(X[part], few(y, 100)[part], classes=[0, 1])
    assert model.score(X, y) > 0.85
    with pytest.raises(ValueError, match=r"y must hold the classes \[0 1\] or -1, got \[5\]"):
        model.partial_fit(X, np.full(len(X), 5))


def test_weights_shift_the_boundary(moons):
    X, y = moons
    options = {"regularizer": None, "epochs": 10, "random_state": 0}
    heavy = RegularizedClassifier(**options).fit(X, y, sample_weight=1.0 + 50 * (y == 1))
    light = RegularizedClassifier(**options).fit(X, y)
    assert heavy.predict_proba(X)[:, 1].mean() > light.predict_proba(X)[:, 1].mean()
    balanced = RegularizedClassifier(**options, class_weight={0: 50.0, 1: 1.0}).fit(X, y)
    assert balanced.predict_proba(X)[:, 0].mean() > light.predict_proba(X)[:, 0].mean()


def test_images_and_networks():
    digits = load_digits()
    X, y = digits.images[:200, None] / 16, digits.target[:200]
    term = unshaken.MVAT(fields.Affine(), radius=0.5)
    model = RegularizedClassifier(
        term, module=lambda channels, size, classes: nn.Sequential(
            nn.Conv2d(channels, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, classes)
        ),
        epochs=5, random_state=0,
    )  # fmt: skip
    assert model.fit(X, few(y, 10)).predict_proba(X).shape == (200, 10)
    assert model.n_features_in_ == 1
    with pytest.raises(ValueError, match=r"X must hold rows of shape \(1, 8, 8\)"):
        model.predict(X[..., :7])


def test_a_data_frame_keeps_its_names(moons):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(moons[0], columns=["east", "north"])
    model = RegularizedClassifier(epochs=2, random_state=0).fit(frame, moons[1])
    assert list(model.feature_names_in_) == ["east", "north"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"east": "west"}))


def test_in_company(moons, tmp_path):
    X, y = moons
    model = RegularizedClassifier(epochs=5, random_state=0)
    pipeline = make_pipeline(StandardScaler(), model)
    assert cross_val_score(pipeline, X, y, cv=3).mean() > 0.7
    search = GridSearchCV(model, {"radius": [0.1, 0.5], "regularizer": ["vat", "at-l2"]}, cv=2)
    assert search.fit(X, y).best_score_ > 0.7
    calibrated = CalibratedClassifierCV(model, cv=2).fit(X, y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(1), 1)
    joblib.dump(pipeline.fit(X, y), tmp_path / "model.joblib")
    for other in (joblib.load(tmp_path / "model.joblib"), pickle.loads(pickle.dumps(pipeline))):
        np.testing.assert_array_equal(other.predict(X), pipeline.predict(X))


def test_methods_that_concern_the_network(moons):
    dropped = RegularizedClassifier("dropout", epochs=1).fit(*moons).module_
    assert sum(isinstance(m, nn.Dropout) and m.p == 0.2 for m in dropped.modules()) == 2
    taught = RegularizedClassifier("mean-teacher", epochs=2, random_state=0).fit(
        moons[0], few(moons[1])
    )
    assert taught.score(*moons) > 0.5
    (term,) = taught._objective.regularizers
    assert taught.module_ is term.teacher is not taught._objective.model
    learned = RegularizedClassifier("concrete-dropout", epochs=1).fit(*moons)
    assert any(
        "log_odds" in name or "logit" in name for name, _ in learned.module_.named_parameters()
    )
    assert learned.predict_proba(moons[0]).shape == (len(moons[0]), 2)


def test_a_labeled_term_of_ones_own_goes_with_regression():
    """By name and as a term the same, sample weights included; and a function as divergence."""
    X = np.random.default_rng(0).normal(size=(60, 2))
    y, weights = X[:, 0] ** 2, np.arange(60.0)
    y[::3] = np.nan

    def fitted(regularizer, **options):
        model = RegularizedRegressor(regularizer, epochs=5, random_state=0, **options)
        return model.fit(X, y, weights).predict(X)

    def own(divergence):
        return Regularizer(Additive(2), SteepestStep(0.5), divergence)

    named = fitted("at-l2", radius=0.5)
    np.testing.assert_allclose(fitted(own(SquaredError(labeled=True))), named, rtol=1e-5)
    absolute = own(Function(lambda f, t: (f - t).abs(), labeled=True))
    absolute = fitted([absolute, Mixup(divergence=SquaredError(labeled=True))])
    assert np.isfinite(absolute).all()
    assert not np.allclose(absolute, named, rtol=1e-3)
    with pytest.raises(ValueError, match="at compares with classes; give it a divergence for reg"):
        fitted(AT(0.3))


class Single(nn.Module):
    """Works in single precision alone, as networks with a state of their own may."""

    def __init__(self, channels, size, classes):
        super().__init__()
        self.layer = nn.Linear(channels, classes)

    def forward(self, x):
        return self.layer(x.float() + torch.zeros(1, x.shape[1]))


def test_a_network_that_knows_one_precision(moons):
    fitted = RegularizedClassifier(module=Single, epochs=1).fit(*moons)
    assert fitted.predict(moons[0]).shape == moons[1].shape


def test_rows_without_a_label_do_not_count_in_scores(moons):
    X, y = moons
    fitted = RegularizedClassifier(epochs=30, random_state=0).fit(X, few(y))
    assert fitted.score(X, few(y)) == (fitted.predict(X) == y)[few(y) != -1].mean()
    assert min(cross_val_score(fitted, X, np.where(np.arange(len(y)) % 3, -1, y), cv=2)) > 0.6
    with pytest.raises(ValueError, match="at least one label other than -1"):
        fitted.score(X, np.full(len(y), -1))
    X, y = make_regression(60, 5, random_state=0)
    regressor = RegularizedRegressor(epochs=5, random_state=0).fit(X, y)
    hidden = np.where(np.arange(60) % 2, np.nan, y)
    assert regressor.score(X, hidden) == pytest.approx(regressor.score(X[::2], y[::2]))


def test_minus_one_is_no_class_and_pieces_are_other_rows(moons):
    X, y = moons
    fitted = RegularizedClassifier()
    assert list(fitted.partial_fit(X, few(y), classes=[-1, 0, 1]).classes_) == [0, 1]
    with pytest.raises(ValueError, match="index is needed: a term that keeps something"):
        RegularizedClassifier("temporal-ensembling").partial_fit(X, few(y), classes=[0, 1])


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"regularizer": "vatt"}, ValueError, "method must be one of"),
        ({"regularizer": "fast-swa"}, ValueError, "fast-swa changes how the network is trained"),
        ({"regularizer": 3}, TypeError, "regularizer must be a method's name"),
        ({"regularizer": None, "radius": 1.0}, ValueError, "radius and weight belong to"),
        ({"epochs": 0}, ValueError, "epochs must be an integer >= 1"),
        ({"learning_rate": -1.0}, ValueError, "learning_rate must be a finite number > 0"),
        ({"module": 3}, TypeError, "module must be a torch.nn.Module"),
    ],
    ids=str,
)
def test_mistakes(moons, options, error, sentence):
    with pytest.raises(error, match=sentence):
        RegularizedClassifier(**options).fit(*moons)


def test_labels_are_needed(moons):
    X, y = moons
    with pytest.raises(ValueError, match="at least one label other than -1"):
        RegularizedClassifier().fit(X, np.full(len(X), -1))
    with pytest.raises(ValueError, match="at least 2 classes"):
        RegularizedClassifier().fit(X, np.where(y == 1, 1, -1))


@pytest.mark.parametrize("regularizer", ["vat", "random", "at-l2", "at-linf", None])
def test_regression_with_targets_that_are_missing(regularizer):
    X, y = make_regression(200, 5, noise=1.0, random_state=0)
    hidden = y.copy()
    hidden[::2] = np.nan
    model = RegularizedRegressor(regularizer, epochs=40, random_state=0).fit(X, hidden)
    assert model.score(X[::2], y[::2]) > 0.8
    two = RegularizedRegressor(regularizer, epochs=2, random_state=0).fit(X, np.c_[y, -y])
    assert two.predict(X).shape == (200, 2)
