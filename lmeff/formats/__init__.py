"""What a run leaves on disk: the fields of its JSON files, which other programs read."""
