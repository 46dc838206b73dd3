"""`python -m branchmerge_trainer`: the command of every stage's container."""

import sys

from branchmerge_trainer.main import main

sys.exit(main())
