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

EVERYTHING = "*"
_LOCAL = ("127.0.0.1", "localhost", "::1")


def known() -> Viewer | None:
    """Return who looks, None where nobody may without signing in."""
    settings = data.settings()
    if settings.dashboard_sign_in == "key":
        return _by_key()
    if settings.dashboard_sign_in == "oidc":
        return _by_account()
    if st.get_option("server.address") not in _LOCAL:
        return None
    return Viewer(sees_everything=True)


def viewer() -> Viewer:
    """Return who looks; where nobody may, draw how to sign in and end the run."""
    found = known()
    if found is None:
        draw_sign_in()
        st.stop()
    return found


def draw_sign_in() -> None:
    """Draw the way in, or why there is none."""
    how = data.settings().dashboard_sign_in
    if how == "none":
        st.error(t("access.not_local"))
        return
    st.title(t("access.title"))
    if how == "key":
        _draw_key_form()
    elif st.user.get("is_logged_in"):
        name = str(st.user.get("email") or st.user.get("sub"))
        st.error(t("access.unknown", name=name))
        if st.button(t("access.sign_out")):
            st.logout()
    else:
        st.write(t("access.oidc"))
        if st.button(t("access.sign_in"), type="primary"):
            st.login()


def draw_sign_out(viewer: Viewer) -> None:
    """Draw who is signed in, and the way out."""
    if not viewer.name:
        return
    with st.sidebar:
        st.caption(t("access.signed_in", name=viewer.name))
        if st.button(t("access.sign_out"), icon=":material/logout:"):
            if st.session_state.pop("_key", None) is None:
                st.logout()
            st.rerun()


def _by_key() -> Viewer | None:
    key: data.Key | None = st.session_state.get("_key")
    if key is None:
        return None
    if not data.still_active(data.settings().database_url, key.id):
        del st.session_state["_key"]
        st.session_state["_ended"] = True
        return None
    everything = key.role is not None
    return Viewer(None if everything else key.subject, key.name or f"{key.prefix}…", everything)


def _draw_key_form() -> None:
    if st.session_state.pop("_ended", False):
        st.warning(t("access.ended"))
    with st.form("sign_in", width=480):
        secret = st.text_input(
            t("access.key"), type="password", placeholder="mk-…", help=t("access.key.help")
        )
        if not st.form_submit_button(t("access.sign_in"), type="primary"):
            return
        found = data.key_of(secret)
        if found is None:
            st.error(t("access.wrong"))
            return
    st.session_state["_key"] = found
    st.rerun()


def _by_account() -> Viewer | None:
    """Return who an account is; one whose address the provider did not verify is nobody."""
    if not st.user.get("is_logged_in"):
        return None
    email = str(st.user.get("email") or "")
    allowed = data.settings().dashboard_users.get(email)
    if not email or not allowed or st.user.get("email_verified") is False:
        return None
    everything = allowed == EVERYTHING
    return Viewer(None if everything else allowed, email, everything)
