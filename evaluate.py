"""A trained model × labelled pictures → how good it is, overall and for every generator and real source.

    python evaluate.py --model models/NAME --data DATA --json scores.json

Prints accuracy, AUROC, AP, EER, TPR at 1 % and 5 % FPR and ECE, then a line for each generator and real source.
"""

from deepfake_detector.cli import evaluate

if __name__ == "__main__":
    raise SystemExit(evaluate())
