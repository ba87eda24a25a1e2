"""`python -m deepfake_detector …`: judge pictures and look after the embedding cache."""

from deepfake_detector.cli import main

raise SystemExit(main())
