"""A table of embeddings → a trained classifier in models/.

    python train_classifier.py embeddings/NAME.csv --head keras_mlp --out models/NAME

Prints the classification report, the confusion matrix, accuracy, AUROC and AP on pictures kept apart.
"""

from deepfake_detector.cli import train

if __name__ == "__main__":
    raise SystemExit(train())
