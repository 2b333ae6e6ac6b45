"""The boards of dashboards/*.json, as code: `dashboards/generate` writes them."""
