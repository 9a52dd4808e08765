"""`python -m visutility` is the command `visutility`."""

from visutility.cli import main

raise SystemExit(main())
