"""What goes wrong between us and a server. No message quotes what was sent or received.

HttpError
├── CannotConnect       no such name, nobody listens, no trust in the certificate, not an address
│   └── ConnectTimeout
├── BrokenOff           the connection ended, or what came was not HTTP, before the answer's head was whole
└── BadBody             the same after it: broken off, badly framed, badly compressed, too long
Silent (a TimeoutError) nothing came for as long as the caller was willing to wait
"""


class HttpError(Exception):
    pass


class CannotConnect(HttpError):
    pass


class ConnectTimeout(CannotConnect):
    pass


class BrokenOff(HttpError):
    pass


class BadBody(HttpError):
    pass


class Silent(TimeoutError):
    pass
