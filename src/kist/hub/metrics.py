"""Counters for `/metrics`, in Prometheus' text format (version 0.0.4).

    # TYPE kist_hub_requests_total counter
    kist_hub_requests_total{method="GET",route="blob",status="200"} 5
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping

_BUCKETS = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)


class Metrics:
    """Thread-safe; label values are few by construction (routes, not paths)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[tuple[str, str, int], int] = defaultdict(int)
        self._seconds: dict[str, list[float]] = {}  # route → counts per bucket, then sum, then count
        self._sent = 0
        self._received = 0
        self.in_flight = 0

    def request(self, method: str, route: str, status: int, seconds: float, sent: int, received: int) -> None:
        with self._lock:
            self._requests[method, route, status] += 1
            row = self._seconds.setdefault(route, [0.0] * (len(_BUCKETS) + 2))
            for number, bound in enumerate(_BUCKETS):
                row[number] += seconds <= bound
            row[-2] += seconds
            row[-1] += 1
            self._sent += sent
            self._received += received

    def text(self, gauges: Mapping[str, float]) -> str:
        with self._lock:
            requests, sent, received = dict(self._requests), self._sent, self._received
            seconds = {route: list(row) for route, row in self._seconds.items()}
        lines = ["# HELP kist_hub_requests_total Requests answered.", "# TYPE kist_hub_requests_total counter"]
        for (method, route, status), count in sorted(requests.items()):
            lines.append(f'kist_hub_requests_total{{method="{method}",route="{route}",status="{status}"}} {count}')
        lines += ["# HELP kist_hub_request_seconds From the request's head to the answer's end.",
                  "# TYPE kist_hub_request_seconds histogram"]
        for route, row in sorted(seconds.items()):
            for bound, within in zip(_BUCKETS, row, strict=False):
                lines.append(f'kist_hub_request_seconds_bucket{{route="{route}",le="{bound}"}} {within:g}')
            lines += [f'kist_hub_request_seconds_bucket{{route="{route}",le="+Inf"}} {row[-1]:g}',
                      f'kist_hub_request_seconds_sum{{route="{route}"}} {row[-2]:.6f}',
                      f'kist_hub_request_seconds_count{{route="{route}"}} {row[-1]:g}']
        counters = {"kist_hub_sent_bytes_total": sent, "kist_hub_received_bytes_total": received}
        for name, value in counters.items():
            lines += [f"# TYPE {name} counter", f"{name} {value}"]
        for name, number in {"in_flight_requests": self.in_flight, **gauges}.items():
            lines += [f"# TYPE kist_hub_{name} gauge", f"kist_hub_{name} {number:g}"]
        return "\n".join(lines) + "\n"
