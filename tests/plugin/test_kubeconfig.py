"""The kubeconfig is read as kubectl reads it."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from toyrental.plugin.kubeconfig import NoAccess, Wanted, contexts, find

CA = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"


def written(path: Path, user: dict[str, Any], **cluster: Any) -> str:
    """Write a kubeconfig with two contexts of one user, and return where it is."""
    context = {"cluster": "c", "user": "u"}
    content = {
        "current-context": "home",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443/", **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [
            {"name": "home", "context": context},
            {"name": "away", "context": context | {"namespace": "shop"}},
        ],
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)


def authorization(wanted: Wanted) -> str | None:
    return dict(find(wanted).headers).get("Authorization")


def test_a_context_has_a_namespace_unless_the_flag_says_another(tmp_path: Path) -> None:
    file = written(tmp_path / "config", {"token": "t"})
    assert find(Wanted(file)).namespace == "default"
    assert find(Wanted(file, "away")).namespace == "shop"
    assert find(Wanted(file, "away", "other")).namespace == "other"
    assert find(Wanted(file)).server == "https://127.0.0.1:6443"
    assert contexts(file) == ["home", "away"]


def test_tokens_and_passwords(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    file = str(tmp_path / "config")
    for user, told in (
        ({"token": "t"}, "Bearer t"),
        ({"tokenFile": "token"}, "Bearer from-file"),
        ({"username": "a", "password": "b"}, "Basic YTpi"),
    ):
        written(tmp_path / "config", user)
        assert authorization(Wanted(file)) == told
    assert "YTpi" not in repr(find(Wanted(file)))


def test_certificates_are_read_from_data_and_from_files_beside_the_kubeconfig(
    tmp_path: Path,
) -> None:
    (tmp_path / "key.pem").write_text("KEY")
    user = {"client-certificate-data": base64.b64encode(b"CERT").decode()}
    file = written(
        tmp_path / "config",
        user | {"client-key": "key.pem"},
        **{"certificate-authority-data": base64.b64encode(CA.encode()).decode()},
    )
    access = find(Wanted(file))
    assert (access.certificate, access.key, access.ca) == ("CERT", "KEY", CA)


def test_a_credential_plugin_is_run_with_what_it_needs(tmp_path: Path) -> None:
    program = tmp_path / "sign-in"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys\n"
        "info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
        "token = ' '.join([info['spec']['cluster']['server'], os.environ['WHO'], *sys.argv[1:]])\n"
        "print(json.dumps({'kind': 'ExecCredential', 'status': {'token': token}}))\n"
    )
    program.chmod(0o755)
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "./sign-in",
        "args": ["now"],
        "env": [{"name": "WHO", "value": "mina"}],
        "interactiveMode": "Never",
        "provideClusterInfo": True,
    }
    file = written(tmp_path / "config", {"exec": plugin})
    assert authorization(Wanted(file)) == "Bearer https://127.0.0.1:6443 mina now"


def test_of_several_files_the_first_entry_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = written(tmp_path / "first", {"token": "first"})
    second = written(tmp_path / "second", {"token": "second"})
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'missing'}:{first}:{second}")
    assert authorization(Wanted()) == "Bearer first"


def test_who_acts_for_another_says_so(tmp_path: Path) -> None:
    file = written(tmp_path / "config", {"token": "t", "as": "hana"})
    assert ("Impersonate-User", "hana") in find(Wanted(file)).headers
    headers = find(Wanted(file, user="aya", groups=("a", "b"))).headers
    assert headers[:3] == (
        ("Impersonate-User", "aya"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "is no YAML"),
        ("[1]", "is no kubeconfig"),
        ("", "no cluster is chosen"),
        (json.dumps({"current-context": "a"}), "no context named a"),
    ],
)
def test_what_is_wrong_with_a_kubeconfig_is_told(content: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(content)
    with pytest.raises(NoAccess, match=told):
        find(Wanted(str(file)))


@pytest.mark.parametrize(
    ("user", "told"),
    [
        ({"exec": {"command": "not-there", "installHint": "get it"}}, "cannot be run: get it"),
        ({"exec": {"command": "false"}}, "failed with code 1"),
        ({"exec": {"command": "true"}}, "gave no ExecCredential"),
        ({"auth-provider": {"name": "oidc"}}, "kubelogin"),
        ({"client-certificate": "gone.pem"}, "cannot be read"),
        ({"client-certificate-data": "?"}, "is not base64"),
    ],
)
def test_what_is_wrong_with_the_credentials_is_told(
    user: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(NoAccess, match=told):
        find(Wanted(written(tmp_path / "config", user)))


def test_a_near_context_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(NoAccess, match="did you mean home"):
        find(Wanted(written(tmp_path / "config", {}), "hom"))
