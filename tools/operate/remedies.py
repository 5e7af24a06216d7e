"""What to do about an order, or a token refresh, that failed for a reason that is not its own."""

ADD_ON = "in its Clopos back office, Add-ons → Open API"
DISABLED = f"The restaurant switches the access on again {ADD_ON}"
CLOPOS = "dev@clopos.com"
INTEGRATOR = (
    "Compare the integrator_id with the one from Clopos: {store}. If it is that, Clopos has deactivated it: "
    f"write to {CLOPOS}"
)

UNKNOWN_CREDENTIALS = (
    f"The restaurant finds the right ones {ADD_ON} (a new client_secret comes from {CLOPOS}). Run: {{store}}"
)

#: What Clopos says, and who can help. The first that fits counts.
BY_WORDS = {
    "client is disabled": DISABLED,
    "client disabled": DISABLED,
    "access to module": "The brand has not subscribed to this module: the restaurant asks Clopos",
    "test mode": "A test integrator and a production brand, or the reverse: the right integrator_id "
    f"comes from {CLOPOS}. Run: {{store}}",
    "invalid integrator": INTEGRATOR,
    "invalid ***": INTEGRATOR,  # what redaction leaves of it, if the id itself contains the word
    "credentials secret": "Run: {store}",
    "credentials": UNKNOWN_CREDENTIALS,
}
BY_CODE = {
    "clopos_unavailable": f"Clopos is down. Nothing on the queue is lost: wait, and tell {CLOPOS}",
    "clopos_timeout": f"Clopos is too slow. Nothing on the queue is lost: wait, and tell {CLOPOS}",
    "clopos_bad_response": "Clopos sends what it does not document. If this lasts, report it",
    "rate_limited": "Something else uses the quota: another system with this integrator and brand, or more "
    f"API callers than ApiReserve has room for. More quota comes from {CLOPOS}",
    "token_unavailable": "Run: make doctor STACK={stack} REFRESH=1",
    "internal_error": "A bug: go back to the version before, and report it with the log",
}
ROLE = (
    "The credentials may do what their staff user may do: the restaurant chooses another one, or gives its "
    f"role the right, {ADD_ON}"
)
REFUSED = "Even a new token is refused: compare brand and venue with the credentials. Run: {store}"
#: Sections of docs/operations.md, if it is neither the access nor the refresh.
SECTIONS = {"rate_limited": "ThrottledAlarm", "internal_error": "Version alarms"}


def remedy(stack: str, code: str, words: str, status: int | None, *, refresh: bool = False) -> str:
    """Return what to do if Clopos or the function says this, and the section of the manual."""
    said, denied = words.lower().replace("_", " "), code == "clopos_access_denied"
    refused = UNKNOWN_CREDENTIALS if refresh else ROLE if status == 403 else REFUSED
    otherwise = refused if denied else BY_CODE.get(code, "Read the log")
    sentence = next((text for known, text in BY_WORDS.items() if known in said), otherwise)
    section = SECTIONS.get(code, "AccessDeniedAlarm" if denied else "WaitingOrdersAlarm")
    filled = sentence.format(stack=stack, store=f"make credentials STACK={stack}")
    return f"{filled} (docs/operations.md, {'TokenRefreshAlarm' if refresh else section})"
