"""A trained model × labelled pictures → how good it is, overall and for every generator and real source.

    python evaluate.py --model models/NAME --data DATA --out reports/NAME

Prints accuracy, AUROC, AP, EER, TPR at 1 % and 5 % FPR and ECE, then a line for each generator and real source, and one
sentence that says whether the benchmark is to be trusted. reports/NAME/report.html has all of it with intervals and drawings.
"""

from deepfake_detector.cli import evaluate

if __name__ == "__main__":
    raise SystemExit(evaluate())
