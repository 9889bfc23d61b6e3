"""Fine-tuning a model on classification and regression tasks, and scoring it on their published validation splits."""
