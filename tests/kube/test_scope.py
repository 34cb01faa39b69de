"""Which namespaces are served."""

import pytest

from toyrental.kube.engine import Scope


@pytest.mark.parametrize(
    ("patterns", "served", "left_out", "named"),
    [
        ((), ["shop-1", "kube-system"], [], ()),
        (("shop-1", "shop-2"), ["shop-1", "shop-2"], ["shop-3"], ("shop-1", "shop-2")),
        (("shop-*",), ["shop-1", "shop-"], ["shop", "a-shop-1"], ()),
        (("shop-*", "!shop-test-*"), ["shop-1"], ["shop-test-1", "other"], ()),
        (("!test-*",), ["shop-1"], ["test-1"], ()),
        (("shop-1", "!shop-2"), ["shop-1"], ["shop-2"], ()),
        (("shop-[12]",), ["shop-1", "shop-2"], ["shop-3"], ()),
        (("shop-?", "toys"), ["shop-1", "toys"], ["shop-10"], ()),
        (("Shop",), ["Shop"], ["shop"], ("Shop",)),
    ],
)
def test_patterns(
    patterns: tuple[str, ...], served: list[str], left_out: list[str], named: tuple[str, ...]
) -> None:
    scope = Scope(patterns)
    assert all(scope.serves(namespace) for namespace in served)
    assert not any(scope.serves(namespace) for namespace in left_out)
    assert scope.named == named
