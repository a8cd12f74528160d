"""The launcher: a lean fork server, and the monitor it forks for each container."""
