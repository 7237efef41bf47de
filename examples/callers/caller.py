#!/usr/bin/env python3
"""Asks Mandate with nothing but Python's own library: caller.py [PERSON]

MANDATE_SERVER, MANDATE_CA and MANDATE_KEY say whom to ask and how: see examples/README.md.
Ends with 0 if the person may publish, 2 if not, 1 if nobody could say.
"""

import base64
import json
import os
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request


class NoAnswer(Exception):
    """There is no decision. That is no access, and no deny either."""


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """An answer from elsewhere is not the answer of whom we asked, and our key is not for whoever that is."""

    def redirect_request(self, *_):
        return None


class Mandate:
    def __init__(self, server, ca=None, key=None):
        self.server = server.rstrip("/")
        tls = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca))
        # No proxy of the environment: that is for the internet, not for the service beside us.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), tls, NoRedirects)
        self.headers = {"Content-Type": "application/json"}
        if key and ":" in key:
            pair = ":".join(urllib.parse.quote(part, safe="") for part in key.split(":", 1))
            self.headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        elif key:
            self.headers["Authorization"] = "Bearer " + key

    def post(self, path, body):
        request = urllib.request.Request(self.server + path, json.dumps(body).encode(), self.headers)
        try:
            with self.opener.open(request, timeout=5) as answer:
                if answer.status != 200:
                    raise NoAnswer(f"status {answer.status}")
                read = json.load(answer)
        except urllib.error.HTTPError as error:
            try:
                problem = json.load(error)
            except ValueError:
                problem = {}
            raise NoAnswer(f"{error.code} {problem.get('code')}: {problem.get('detail')}") from None
        except (OSError, ValueError) as error:
            raise NoAnswer(f"{self.server} cannot be reached: {error}") from None
        if not isinstance(read, dict):
            raise NoAnswer("what came back is no answer")
        return read

    def evaluate(self, question):
        """True or False, and the reason of a False."""
        answer = self.post("/access/v1/evaluation", question)
        return decision(answer), answer.get("context", {}).get("reason")

    def evaluate_each(self, batch):
        answers = self.post("/access/v1/evaluations", batch).get("evaluations")
        if not isinstance(answers, list) or len(answers) != len(batch["evaluations"]):
            raise NoAnswer("not every question was answered")
        return [decision(answer) for answer in answers]

    def search_resources(self, search):
        """Every result, page by page."""
        while True:
            page = self.post("/access/v1/search/resource", search)
            yield from page["results"]
            token = page.get("page", {}).get("next_token")
            if not token:
                return
            search = {**search, "page": {**search.get("page", {}), "token": token}}


def decision(answer):
    """Only true is an allow and only false is a deny. `if answer["decision"]` would let "false" in."""
    said = answer.get("decision")
    # A question that was none is an error in its place.
    if not isinstance(said, bool) or "error" in answer.get("context", {}):
        raise NoAnswer(f"`{json.dumps(answer)}` is no decision")
    return said


def word(allowed):
    return "allow" if allowed else "deny"


def main():
    person = sys.argv[1] if len(sys.argv) > 1 else "maria"
    server = os.environ.get("MANDATE_SERVER", "http://127.0.0.1:8080")
    mandate = Mandate(server, os.environ.get("MANDATE_CA"), os.environ.get("MANDATE_KEY"))
    subject, bakery = {"type": "user", "id": person}, {"type": "site", "id": "bakery"}

    # One question, with the reason for a deny.
    allowed, reason = mandate.evaluate(
        {"subject": subject, "action": {"name": "PublishSite"}, "resource": bakery, "context": {"explain": True}}
    )
    print(f"{person} PublishSite bakery: {word(allowed)}" + (f" ({reason})" if reason else ""))

    # Several questions, answered at one revision. What stands beside the list holds for each of them.
    actions = ["EditContent", "InviteContributor", "ManagePayouts"]
    items = [{"action": {"name": name}} for name in actions]
    answers = mandate.evaluate_each({"subject": subject, "resource": bakery, "evaluations": items})
    for name, answer in zip(actions, answers):
        print(f"{person} {name} bakery: {word(answer)}")

    # A search, page by page.
    found = 0
    search = {"subject": subject, "action": {"name": "EditContent"}, "resource": {"type": "site"}, "page": {"limit": 2}}
    for site in mandate.search_resources(search):
        print(f"{person} may edit {site['id']}")
        found += 1
    print(f"{person} may edit {found} sites")
    return 0 if allowed else 2


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NoAnswer as error:
        print(f"no answer, so no access: {error}", file=sys.stderr)
        sys.exit(1)
