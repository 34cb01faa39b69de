"""etcd's own tool that makes a data directory of a snapshot: for the test of backup and restore."""

from pathlib import Path

from dev.cluster.golang import GoProgram

ETCD_VERSION = "3.7.0"
"""That of the control plane's etcd, as both go.mod say."""

ETCDUTL = GoProgram(
    name="etcdutl",
    title=f"etcdutl {ETCD_VERSION}",
    version=ETCD_VERSION,
    module=Path(__file__).parent,
    flags=("-trimpath", "-ldflags=-s -w"),
    package="go.etcd.io/etcd/etcdutl/v3",
)
