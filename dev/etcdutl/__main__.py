"""`python -m dev.etcdutl`: build etcdutl if it is not in the cache, and print its path."""

import sys

from dev.cluster import ClusterError
from dev.cluster.console import plain
from dev.etcdutl import ETCDUTL

try:
    print(ETCDUTL.path(plain()))
except ClusterError as error:
    sys.exit(f"Error: {error}")
