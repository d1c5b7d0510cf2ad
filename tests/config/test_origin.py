"""Web origins (CORS): each spelling is normalised to the form that a browser sends, or refused with that form."""

import pytest

from router.config.origin import origin
from router.errors import Misfit

WELL_FORMED = {
    "https://Chat.Example.com": "https://chat.example.com",
    "HTTPS://chat.example.com:443": "https://chat.example.com",
    "https://chat.example.com:": "https://chat.example.com",
    "https://chat.example.com:0443": "https://chat.example.com",
    "http://chat.example.com:80": "http://chat.example.com",
    "http://chat.example.com:443": "http://chat.example.com:443",
    "https://chat.example.com:8443": "https://chat.example.com:8443",
    "https://münchen.example": "https://xn--mnchen-3ya.example",
    "https://MÜNCHEN.example:443": "https://xn--mnchen-3ya.example",
    "https://straße.example": "https://xn--strae-oqa.example",
    "https://例え。jp": "https://xn--r8jz45g.jp",
    "https://xn--mnchen-3ya.example": "https://xn--mnchen-3ya.example",
    "http://localhost:3000": "http://localhost:3000",
    "http://my_host:3000": "http://my_host:3000",
    "http://127.0.0.1:3000": "http://127.0.0.1:3000",
    "http://[2001:DB8:0::1]:3000": "http://[2001:db8::1]:3000",
    "http://tauri.localhost": "http://tauri.localhost",
    "tauri://localhost": "tauri://localhost",
    "capacitor://localhost": "capacitor://localhost",
    "ionic://localhost": "ionic://localhost",
    "app://obsidian.md": "app://obsidian.md",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop": "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    "moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc": "moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc",
}
MEANT = {
    "https://chat.example.com/": "https://chat.example.com",
    "https://Chat.example.com:443/app?x=1#y": "https://chat.example.com",
    " https://chat.example.com": "https://chat.example.com",
    "htps://chat.example.com": "https://chat.example.com",
    "wss://chat.example.com": "https://chat.example.com",
    "ws://localhost:3000/socket": "http://localhost:3000",
    "tauri://localhost/": "tauri://localhost",
}
STRANGE = [
    *("*", "null", "", "https://", "localhost:3000", "chat.example.com", "https://*.example.com", "https://chat.example.com:0"),
    *("https://chat.example.com:65536", "https://chat example.com", "https://chat\\example.com", "https://chat%2eexample.com"),
    *("https://[::1", "https://[1.2.3.4]", "https://127.1", "https://1.2.3.4.5", "https://a.0x7f", "https://...", "https://☕.example"),
    *("file://", "file:///index.html", "file://host", "data:text/html,x", "about:blank", "javascript://x", "blob:https://x", "a b://c"),
    *("tauri://local host", "tauri://ü"),
]


@pytest.mark.parametrize(("written", "sent"), WELL_FORMED.items())
def test_origin_is_normalised_to_the_form_that_browsers_send(written: str, sent: str) -> None:
    """An origin loses its default port, and its host becomes lower case and IDNA ASCII; a normalised origin does not change."""
    assert origin(written) == sent
    assert origin(sent) == sent


@pytest.mark.parametrize(("written", "meant"), MEANT.items())
def test_refused_origin_with_an_obvious_correction_suggests_it(written: str, meant: str) -> None:
    """An origin with a path, a space or a wrong scheme raises `Misfit` with the origin to write instead."""
    with pytest.raises(Misfit) as caught:
        origin(written)
    assert caught.value.message == f"`{written}` is not an origin: write {meant}"


@pytest.mark.parametrize("written", STRANGE)
def test_origin_that_no_browser_sends_is_refused(written: str) -> None:
    """A text that no browser sends as an origin (`*`, `null`, no scheme, an invalid host or port) raises `Misfit`."""
    with pytest.raises(Misfit, match=r"is not an origin: write scheme and host without a path"):
        origin(written)


def test_refusal_of_an_origin_does_not_quote_its_password() -> None:
    """An origin with user and password raises `Misfit`, whose message does not contain the password."""
    with pytest.raises(Misfit) as caught:
        origin("https://me:sk-HIDDEN@host/")
    assert "HIDDEN" not in caught.value.message
