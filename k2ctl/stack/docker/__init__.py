"""The docker engine: a Compose file made real through the Docker SDK, touching only what carries our label."""
