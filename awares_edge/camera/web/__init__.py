"""The page of `awares-edge camera`: a station in a browser, on this machine or a phone.

    options          limits of the server, and who may ask
    guard            same origin, and the headers that keep the page to itself
    feed             events of the station, as whole exchanges, for any number of pages
    models           bundles (each for one runtime) to choose from, and the change to another
    requests         what a page may send                                    (pure)
    pictures         what a page may see of an exchange, as JPEG             (pure)
    app, run         the routes, and the running server
    certificate      a self-signed certificate for `--lan`
    link             the addresses of this machine, the link, its QR code
    static/          HTML, CSS and JavaScript, served as they are

Everything here needs `pip install 'awares-edge[camera]'`. Nothing is fetched from other servers:
neither by the server nor, by its Content-Security-Policy, by the page.
"""
