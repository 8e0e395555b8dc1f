"""Ravelin beside other proxies: what one request costs each of them. `benches/run --help`."""
