"""What is said of a command that there isn't: what was meant, or what does that part of Docker's work here."""

from __future__ import annotations

from collections.abc import Iterable

_NO_BUILDER = ("Kist builds no images. Build with another tool (podman build, buildah, docker buildx), then "
               "`kist load` what it saved, or pull what it pushed.")
_NO_SWARM = "Kist runs containers on one machine: nothing of Docker's swarm is here."
INSTEAD = {
    **dict.fromkeys(("build", "builder", "buildx"), _NO_BUILDER),
    **dict.fromkeys(("config", "node", "secret", "service", "stack", "swarm"), _NO_SWARM),
    "checkpoint": "Kist can't freeze containers to disk; `kist pause` stops them for a while.",
    "compose": "Docker's works with Kist's server: DOCKER_HOST=unix:///run/kist/kist.sock docker compose …",
    "context": "Which server is meant is said by -H, KIST_HOST or the configuration file.",
    "plugin": "Kist has no plugins; network and volume drivers are its own.",
    "trust": "Kist verifies digests, not signatures.",
}


def advice(word: str, known: Iterable[str]) -> str:
    """A paragraph for the error, or nothing."""
    if word in INSTEAD:
        return f"{INSTEAD[word]}\n\n"
    from difflib import get_close_matches  # takes longer than the command: here, where it is an error anyhow

    near = get_close_matches(word, sorted(known), n=1, cutoff=0.65)
    return f"Did you mean '{near[0]}'?\n\n" if near else ""
