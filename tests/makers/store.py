"""Access to a store of objects that a test starts."""

SECRET = "geheimnis-of-this-test"


def access_to(server):
    return {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
