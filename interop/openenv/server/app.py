"""SleepGym for OpenEnv: the application that ``openenv.yaml`` and the Dockerfile start.

``SLEEPGYM_ENV`` names the environment, ``SLEEPGYM_ENV_SET`` its settings (``days=8,exams=spaced``),
``SLEEPGYM_SESSIONS`` how many learners it serves at once, ``SLEEPGYM_DATA`` original data files.
"""

from __future__ import annotations

import os

from sleepgym import make_env
from sleepgym.core.settings import parse_pairs
from sleepgym.interop.openenv_server import make_app, serve

ENV = os.environ.get("SLEEPGYM_ENV", "sleepgym/Almanac-v1")
SETTINGS = parse_pairs([s for s in os.environ.get("SLEEPGYM_ENV_SET", "").split(",") if s])
app = make_app(
    lambda: make_env(ENV, data=os.environ.get("SLEEPGYM_DATA"), **SETTINGS),
    ENV,
    sessions=int(os.environ.get("SLEEPGYM_SESSIONS", "64")),
)


def main() -> None:
    """Serve on port 8000."""
    serve(app, "0.0.0.0", 8000, print)


if __name__ == "__main__":
    main()
