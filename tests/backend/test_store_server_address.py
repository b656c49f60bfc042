"""The URL of a ClickHouse server: what it may say, and what is said about one that is wrong."""

import pytest

from tokentrail.backend.store.server_address import ServerAddress, address_of


def test_everything_but_the_host_has_a_default() -> None:
    assert address_of("clickhouse://db") == ServerAddress(hosts=(("db", 9000),))


def test_a_url_says_it_all() -> None:
    url = (
        "clickhouse://app:s%40cret@h1:9001,h2,[::1]:9002/obs?cluster=main&secure=true&verify=false&ca_certs=/ca.pem"
        "&certfile=/c.pem&keyfile=/k.pem&server_hostname=ch.example&compression=zstd&connect_timeout=1.5&timeout=90"
        "&insert_quorum=auto"
    )

    assert address_of(url) == ServerAddress(
        hosts=(("h1", 9001), ("h2", 9440), ("::1", 9002)),
        database="obs",
        user="app",
        password="s@cret",
        cluster="main",
        secure=True,
        verify=False,
        ca_certs="/ca.pem",
        certfile="/c.pem",
        keyfile="/k.pem",
        server_hostname="ch.example",
        compression="zstd",
        connect_timeout_s=1.5,
        timeout_s=90.0,
        insert_quorum="auto",
    )


def test_no_text_of_an_address_has_its_password() -> None:
    address = address_of("clickhouse://app:hidden@h1,[::1]/obs?cluster=main")

    assert str(address) == "clickhouse://app@h1:9000,[::1]:9000/obs?cluster=main"
    assert "hidden" not in repr(address)


def test_a_password_may_come_apart_from_the_url() -> None:
    assert address_of("clickhouse://app@db", "p@:/?#%").password == "p@:/?#%"


def test_two_passwords_are_refused() -> None:
    with pytest.raises(ValueError, match="leave one of them out") as caught:
        address_of("clickhouse://app:hidden@db", "secret")

    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("chdb:///data", "expected a URL such as clickhouse://"),
        ("clickhouse:///data", "expected a URL such as"),
        ("clickhouse://u:hidden@/data", "expected a URL such as"),
        ("clickhouse://u:hid#den@db/data", "%23"),
        ("clickhouse://u:hid/den@db/data", "expected"),
        ("clickhouse://u:hidden@db/a/b", "expected a URL"),
        ("clickhouse://u:hidden@db:x/a", "no host:port"),
        ("clickhouse://u:hidden@db:70000/a", "no host:port"),
        ("clickhouse://u:hidden@db,/a", "no host:port"),
        ("clickhouse://u:hidden@db/a?secure=maybe", "secure is 'maybe'"),
        ("clickhouse://u:hidden@db/a?compression=brotli", "lz4, lz4hc, zstd, none"),
        ("clickhouse://u:hidden@db/a?timeout=0", "more than 0"),
        ("clickhouse://u:hidden@db/a?timeout=soon", "expected seconds"),
        ("clickhouse://u:hidden@db/a?cluster=a'b", "no name of a cluster"),
        ("clickhouse://u:hidden@db/a?insert_quorum=-1", "auto or a number"),
        ("clickhouse://u:hidden@db/a?clutser=x", "unknown option 'clutser'"),
    ],
)
def test_a_url_that_cannot_be_is_refused_with_what_is_expected_and_no_secret(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        address_of(url)

    assert words in str(caught.value)
    assert "hid" not in str(caught.value)
