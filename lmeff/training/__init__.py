"""The Trainer, anchors, checkpoints and what a run tells while it works. Import from the modules; this room needs torch."""
