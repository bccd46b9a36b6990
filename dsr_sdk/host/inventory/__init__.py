"""The systems a company uses: the catalogue, what takes part in request handling, and how more are found."""
