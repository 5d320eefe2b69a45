"""The REST service: read-only, versioned under /api/v1, and the dashboard that lives on it.

    settings.py   what steers the service
    app.py        `create_app(settings)`: routers, errors, headers, static files
    server.py     runs it on a socket
    deps.py       what the routes share: storage, published results, traces
    schemas.py    what goes over the wire (separate from the tables), field by field with units
    convert.py    records of the storage → schemas
    etags.py      JSON responses that a client need not fetch twice
    traces.py     K over steps, thinned so that long chains stay light
    rates.py      steps per second
    results.py    the published results as the API tells them
    routes/       one router per resource

JSON has no inf and nan: both are sent as null, and each field's description says what null means there.
"""
