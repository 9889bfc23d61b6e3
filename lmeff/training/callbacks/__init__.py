"""What happens beside training steps, one file each."""
