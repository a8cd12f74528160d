"""The one place that says which Kist this is (no imports: the client reads it at start-up)."""

VERSION = "0.1.0"
API_VERSION = "1.51"
MIN_API_VERSION = "1.24"
