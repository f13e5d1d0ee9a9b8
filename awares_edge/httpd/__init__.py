"""What every server of this package shares: who may ask, how much they send, and how it ends.

    limits           what is bounded, and which addresses need a token
    refusals         errors as JSON, each with its HTTP status
    guard            Host, token, body size and time, before anything is read
    connections      HTTP/1.1 within limits of size, time and number; signals and draining
    loop             a bound socket, and uvicorn with all of the above

Everything here needs `pip install 'awares-edge[serve]'` or `'awares-edge[camera]'`.
"""
