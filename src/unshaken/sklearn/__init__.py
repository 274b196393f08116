"""scikit-learn estimators: a label of -1 means unlabeled, and a regularizer uses those rows too."""

from unshaken.sklearn.classifier import RegularizedClassifier
from unshaken.sklearn.regressor import RegularizedRegressor

__all__ = ["RegularizedClassifier", "RegularizedRegressor"]
