"""The server and the MCP tool, with real sockets on loopback and scripted models."""

import pytest

pytest.importorskip("fastapi", reason="pip install 'awares-edge[serve]'")
pytest.importorskip("llguidance", reason="pip install 'awares-edge[serve]'")
