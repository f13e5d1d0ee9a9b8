"""An OpenAI-compatible server for one loaded model, and an MCP tool.

    options          limits of the server
    requests         the request body, and which parameters are refused
    conversation     messages → one question and its pictures          (pure)
    images           data URLs → one picture, within limits
    store            pictures whose KV is kept
    grammar          JSON answers, held to a schema
    worker           questions on threads: back-pressure, cancelling
    shown            the text a client gets: stop texts, token limit   (pure)
    replies          answers in OpenAI's shapes, usage, timings        (pure)
    metrics          Prometheus
    app, run         the routes, and the running server
    look             the MCP tool

What it shares with other servers (limits, guard, refusals, connections) is in `httpd`.

Everything here needs `pip install 'awares-edge[serve]'`; `look` needs `awares-edge[mcp]`.
"""
