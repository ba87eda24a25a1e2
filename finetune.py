"""Real and fake pictures → a model whose encoder was tuned for them, in models/.

    python finetune.py DATA --out models/NAME

Prints what train_classifier.py prints, and how each run did on the generators and real sources that it had not learnt from.
"""

from deepfake_detector.cli import finetune

if __name__ == "__main__":
    raise SystemExit(finetune())
