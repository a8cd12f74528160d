"""The OCI runtime: from a specification to a process (runtime-spec 1.2).

``plan`` turns the specification into a list of steps, without touching the system; ``create`` forks a process
into its namespaces and control groups; ``init`` runs the steps there and waits at a barrier; ``exec`` puts
one more process into a container that runs. docs/runtime.md tells the story.
"""
