"""Say who looks: everybody on this machine, the holder of a key, or a person of an OIDC provider.

The setting `dashboard_sign_in` decides: "none" serves this machine only and shows everything,
"key" asks for a key (one with the role admin or reader sees everything, a customer's key that
customer only), "oidc" sends people to the provider that `.streamlit/secrets.toml` names, and
`dashboard_users` says what each may see. Who may not look gets a sentence and nothing else.
"""

import data
import streamlit as st
from data import Viewer
from texts import t

_LOCAL = ("127.0.0.1", "localhost", "::1")
EVERYTHING = "*"


def viewer() -> Viewer:
    """Return who looks; stop the run with a form or a sentence where nobody may."""
    settings = data.settings()
    if settings.dashboard_sign_in == "key":
        return _by_key()
    if settings.dashboard_sign_in == "oidc":
        return _by_oidc(settings.dashboard_users)
    if st.get_option("server.address") not in _LOCAL:
        st.error(t("access.not_local"))
        st.stop()
    return Viewer(sees_everything=True)


def draw_sign_out(viewer: Viewer) -> None:
    """Draw who is signed in, and the way out."""
    if not viewer.name:
        return
    with st.sidebar:
        st.caption(t("access.signed_in", name=viewer.name))
        if st.button(t("access.sign_out"), icon=":material/logout:"):
            _sign_out()


def _by_key() -> Viewer:
    known: data.Key | None = st.session_state.get("_key")
    if known is not None and data.still_active(data.settings().database_url, known.id):
        everything = known.role is not None
        name = known.name or known.prefix + "…"
        return Viewer(None if everything else known.subject, name, everything)
    was_signed_in = st.session_state.pop("_key", None) is not None
    st.title(t("access.title"))
    if was_signed_in:
        st.warning(t("access.ended"))
    with st.form("sign_in"):
        secret = st.text_input(t("access.key"), type="password", placeholder="mk-…",
                               help=t("access.key.help"))  # fmt: skip
        if st.form_submit_button(t("access.sign_in"), type="primary"):
            found = data.key_of(secret)
            if found is not None:
                st.session_state["_key"] = found
                st.rerun()
            st.error(t("access.wrong"))
    st.stop()


def _by_oidc(users: "data.Mapping[str, str]") -> Viewer:
    if not st.user.get("is_logged_in"):
        st.title(t("access.title"))
        st.write(t("access.oidc"))
        if st.button(t("access.sign_in"), type="primary"):
            st.login()
        st.stop()
    email = str(st.user.get("email") or "")
    allowed = users.get(email)
    if st.user.get("email_verified") is False or not email or not allowed:
        st.title(t("access.title"))
        st.error(t("access.unknown", name=email or str(st.user.get("sub"))))
        if st.button(t("access.sign_out")):
            _sign_out()
        st.stop()
    everything = allowed == EVERYTHING
    return Viewer(None if everything else allowed, email, everything)


def _sign_out() -> None:
    st.session_state.pop("_key", None)
    if data.settings().dashboard_sign_in == "oidc":
        st.logout()
    st.rerun()
