"""Run Tracklight from a checkout: `python run_pipeline.py --help`. Installed, the same program is `tracklight`."""

import sys

from pipeline.cli import main

if __name__ == "__main__":
    sys.exit(main())
