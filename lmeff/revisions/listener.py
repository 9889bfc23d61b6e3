"""The seam for what happens to revisions besides their being kept, such as delivery to the Hub."""

from pathlib import Path


class RevisionListener:
    """Learns of a run's revisions, on the first process. This one does nothing with them, and lets all be replaced."""

    def saved(self, folder: Path) -> None:
        """A revision is whole on disk."""

    def hold(self, revision: str, even_if_seen: bool) -> bool:
        """A revision is about to be replaced, by its name: from now on, until `saved`, its folder must not be used. Returns
        whether it may become another model: not when others may have loaded it, unless `even_if_seen`."""
        return True
