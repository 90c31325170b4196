"""`python -m tests.images`: build what is missing of the local images, and Docker Compose for the test of its file."""

import sys
import time

import docker
from docker.errors import DockerException

from tests.images.build import build_all
from tests.images.programs import CannotBuild, compose


def main() -> int:
    """Build, say what was built and how long it took."""
    started_s = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - started_s:6.1f} s  {text}\n")

    try:
        built = build_all(docker.from_env(timeout=600), say)
        compose(say)
    except (CannotBuild, DockerException) as error:
        say(str(error))
        return 1
    say(f"{len(built)} built" if built else "nothing to build")
    return 0


if __name__ == "__main__":
    sys.exit(main())
