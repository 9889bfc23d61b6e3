"""What a revision knows of itself, for tests that make one up."""

FACTS = {
    "step": 2,
    "epoch": 0.5,
    "seed": 3,
    "mode": "snapshot",
    "part": None,
    "loss": 1.5,
    "dev_loss": 1.6,
    "dev_perplexity": 4.95,
    "dev_bits_per_byte": 0.9,
    "num_skipped_steps": 0,
    "train_seconds": 1.0,
    "flops": 1e6,
    "world_size": 1,
    "device": "cpu",
}
