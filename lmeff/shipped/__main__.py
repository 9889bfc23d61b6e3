"""For shell scripts: `python -m lmeff.shipped launchers NAME` prints the path of a launcher configuration."""

import sys

from lmeff.shipped import find_shipped, shipped_names

kind, name = sys.argv[1:]
if (found := find_shipped(kind, name)) is None:
    sys.exit(f"{name!r} is neither a file nor one of the {kind} {', '.join(shipped_names(kind))}")
print(found)
