from local.openapi import FILE, describe, text


def test_the_description_of_the_api_is_that_of_the_code():
    assert FILE.read_text() == text(), "run: .venv/bin/python -m local.openapi"


def test_the_description_has_the_routes_of_the_contract_and_no_other():
    routes = {(path, method) for path, operations in describe()["paths"].items() for method in operations}
    assert routes == {("/orders/{id}", "put"), ("/webhooks/cancellations", "post")}
