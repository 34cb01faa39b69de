"""`python -m dev.helm`: build Helm if it is not in the cache, and print its path."""

import sys

from dev.cluster import ClusterError
from dev.cluster.console import plain
from dev.helm import HELM

try:
    print(HELM.path(plain()))
except ClusterError as error:
    sys.exit(f"Error: {error}")
