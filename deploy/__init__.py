"""How an installation is set up and kept: `local` on one machine, `observe` what Prometheus and Grafana read."""
