"""A model behind an OpenAI-compatible endpoint, asked like one on this machine.

    address, key   where a server is, and its bearer token
    exchange       one request and its response, within bounds
    http           requests to one server: kept connections, waiting while it is busy
    failures       what went wrong, as one line
    events         server-sent events → chunks of a chat completion
    chunks         what a chunk says: text, finish reason, counts, milliseconds
    servers        which server it is, and what differs between them
    pictures       pictures as data URLs, of the size that the vision tower takes
    messages       profile → messages                                    (pure)
    barring        a grammar in which no call occurs                     (pure)
    dialogue       the loop's conversation as messages, turn by turn
    own            our own server, which runs the loop itself
    link           chat completions of one model
    scripted       replies of a fixed length and text, for measuring
    model          what is opened and asked
    connecting     `connect`: find out what answers at an address

Nothing here needs a package beyond those of a device install.
"""
