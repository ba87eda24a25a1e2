"""The second document's classifier: a support vector machine with an RBF kernel, its margins turned into probabilities."""

from __future__ import annotations

from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from deepfake_detector.heads._sklearn import SklearnHead


class Head(SklearnHead):
    """Margins are calibrated by Platt's sigmoid on five folds (SVC's own `probability=True` is deprecated)."""

    def pipeline(self) -> Pipeline:
        machine = SVC(class_weight="balanced", random_state=self.seed)
        return make_pipeline(StandardScaler(), CalibratedClassifierCV(machine, ensemble=False))
