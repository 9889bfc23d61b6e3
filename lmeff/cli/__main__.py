"""`python -m lmeff.cli VERB`."""

import sys

from lmeff.cli.main import main

sys.exit(main())
