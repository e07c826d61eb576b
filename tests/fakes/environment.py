"""The environment that points every provider of an unchanged config to a fake."""

import json

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from .server import FakeProvider

KEYS = {
    "OPENAI_API_KEY": "sk-proj-fake",
    "ANTHROPIC_API_KEY": "sk-ant-fake",
    "GEMINI_API_KEY": "AIza-fake",
    "OPENROUTER_API_KEY": "sk-or-fake",
    "GROQ_API_KEY": "gsk-fake",
    "AZURE_API_KEY": "az-fake",
}


def pointing_at(fake: FakeProvider) -> dict[str, str]:
    """A key for each provider that the fake supports, and the variables with its address."""
    return {
        **KEYS,
        "OPENAI_BASE_URL": fake.openai_base,
        "ANTHROPIC_API_BASE": fake.url,
        "GEMINI_API_BASE": fake.gemini_base,
        "OPENROUTER_API_BASE": f"{fake.url}/api/v1",
        "GROQ_API_BASE": f"{fake.url}/openai/v1",
        "AZURE_API_BASE": fake.url,
        "AZURE_API_VERSION": "2024-02-15-preview",
        "GOOGLE_APPLICATION_CREDENTIALS": service_account(fake),
        "VERTEXAI_API_BASE": fake.url,
    }


def service_account(fake: FakeProvider) -> str:
    """The JSON of a Google service account key whose tokens come from the fake."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "fake-project",
            "private_key_id": "fake",
            "private_key": pem,
            "client_email": "gateway@fake-project.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": f"{fake.url}/token",
        }
    )
