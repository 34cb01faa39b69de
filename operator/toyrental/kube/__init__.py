"""The Kubernetes plumbing: client, cache, queue, reconciling; kopf watches and runs it."""
