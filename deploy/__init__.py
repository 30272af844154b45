"""Container images and manifests, all from `deploy/values.yaml`."""
