"""Where the API server is, and who the operator is to it."""

import logging
import os
from pathlib import Path

import kopf
import yaml

KUBECONFIG = "KUBECONFIG"


class NoConnection(Exception):
    """There is no way to an API server; `str()` says what to do."""


def find(kubeconfig: Path | None) -> kopf.ConnectionInfo:
    """Return how to reach the API server.

    That is by the kubeconfig named; else by $KUBECONFIG; else, in a pod, by its service account;
    else by ~/.kube/config. Raises NoConnection where none of them is to be had.
    """
    settings = kopf.OperatorSettings()
    if kubeconfig is not None:
        os.environ[KUBECONFIG] = str(kubeconfig)
    try:
        if os.environ.get(KUBECONFIG):
            found = kopf.login_with_kubeconfig(settings=settings)
        else:
            found = kopf.login_with_service_account(
                settings=settings
            ) or kopf.login_with_kubeconfig(settings=settings)
    except (OSError, KeyError, yaml.YAMLError, kopf.LoginError) as error:
        where = os.environ.get(KUBECONFIG, "~/.kube/config")
        raise NoConnection(f"the kubeconfig {where} cannot be used: {error}") from error
    if found is None or not found.server:
        raise NoConnection(
            "no cluster is named; give --kubeconfig, set KUBECONFIG, or run in a pod"
        )
    return found


def login(connection: kopf.ConnectionInfo, registry: kopf.OperatorRegistry) -> None:
    """Let kopf use the connection that was found; in a pod the token is read anew when refused."""

    @kopf.on.login(registry=registry)
    def find_again(**_: object) -> kopf.ConnectionInfo:
        try:
            return find(None)
        except NoConnection:
            logging.getLogger(__name__).warning("the credentials cannot be read anew; keeping them")
            return connection
