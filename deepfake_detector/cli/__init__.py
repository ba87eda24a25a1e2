"""The command lines, a file for each script, and what they print; heavy libraries load only once the arguments are known."""

from deepfake_detector.cli.commands import main
from deepfake_detector.cli.evaluation import evaluate
from deepfake_detector.cli.extraction import extract
from deepfake_detector.cli.page import app
from deepfake_detector.cli.training import train
from deepfake_detector.cli.tuning import finetune

__all__ = ["app", "evaluate", "extract", "finetune", "main", "train"]
