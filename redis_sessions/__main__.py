"""``python -m redis_sessions``: the same as ``redis-sessions``."""

import sys

from redis_sessions.cli import main

if __name__ == "__main__":
    sys.exit(main())
