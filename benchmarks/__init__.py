"""Speed against loops, vmap and peers, on the same work in one run: `make bench` or `python -m benchmarks`."""
