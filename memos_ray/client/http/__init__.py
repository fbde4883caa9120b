"""The services behind a URL: one class for each service, with the verbs that it has."""
