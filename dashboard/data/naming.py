"""Name what a person can choose from: subjects, models, providers, tags, units."""

from dataclasses import replace

import streamlit as st

from data.asking import Question, Viewer, cube, opened, require_all, settings
from meter.core.units import UNITS

_MOST_NAMES = 500


@st.cache_data(ttl=60, show_spinner=False)
def names(url: str) -> tuple[list[str], list[tuple[str, str]], list[str]]:
    """Return subjects, (provider, model) pairs and tags of the ledger."""
    meter = opened(url)
    tags = {
        f"{name}={value}" for call in meter.calls(limit=_MOST_NAMES) for name, value in call.tags
    }
    return meter.subjects(_MOST_NAMES), meter.models(), sorted(tags)[:_MOST_NAMES]


def subjects(viewer: Viewer) -> list[str]:
    """Return the subjects that this viewer can choose from, the greatest spender first."""
    if not viewer.sees_everything:
        return []
    return names(settings().database_url)[0]


def models(viewer: Viewer, question: Question | None = None) -> list[str]:
    """Return the models that this viewer can choose from."""
    if viewer.sees_everything:
        return sorted({model for _, model in names(settings().database_url)[1]})
    if question is None:
        return []
    rows = cube(viewer, replace(question, model=None, tag=None))
    return sorted({row.group[1] for row in rows if row.group[1]})


def every_model() -> list[str]:
    """Return every model of the ledger: what colours are given out by."""
    return sorted({model for _, model in names(settings().database_url)[1]})


def tags(viewer: Viewer) -> list[str]:
    """Return tags as name=value that recent calls have."""
    return names(settings().database_url)[2] if viewer.sees_everything else []


def unit_label(name: str) -> str:
    """Return how a unit is called."""
    return UNITS[name].label if name in UNITS else name


def providers_of(model: str) -> list[str]:
    """Return who the ledger knows as providers of a model."""
    return [provider for provider, name in names(settings().database_url)[1] if name == model]


def providers(viewer: Viewer) -> list[str]:
    """Return who ever served a call."""
    require_all(viewer)
    return sorted({provider for provider, _ in names(settings().database_url)[1]})
