"""Client of the OCI distribution protocol: names in, verified bytes out.

``protocol`` is pure (URLs, headers, error bodies), ``auth`` answers challenges, ``client`` owns the
connections, ``pull`` and ``push`` are the two stories. Everything is synchronous and runs in the
engine's worker threads; every wait has an end and every size a bound.
"""
