"""Names of the vocabularies, and of the features that Transform adds to the raw ones."""

from __future__ import annotations

from collections.abc import Iterable

from transforms import features as f

ENTITY = "entity"
ENTITY_COUNTS = "entity_counts"
EVENT_TYPE = "event_type"
CATEGORY = "category"
ATTRIBUTE = "attribute"
USER_ATTRIBUTE = "user_attribute"
TITLE_TOKEN = "title_token"
QUERY = "query"
QUERY_TOKEN = "query_token"

# What the file of a vocabulary without values holds: a lookup table needs a line.
NOTHING = b"\x00"

# Features that Transform makes besides those that keep their raw names.
EVENT_QUERY_TOKENS = "event/query_tokens"
PAGE_QUERY_TOKENS = "page/query_tokens"
REQUEST_QUERY_TOKENS = "request/query_tokens"
CATALOGUE_PRICE_BUCKET = "catalogue/price_bucket"

# Prefixes of the raw features of declared fields (`transforms.catalogue_fields`).
CATALOGUE_VECTOR = "catalogue/vector/"
CATALOGUE_TOKEN = "catalogue/token/"

# Raw features that become indices, and the vocabulary of each.
INDEXED = {
    f.EVENT_ENTITY: ENTITY,
    f.IMPRESSION_ENTITY: ENTITY,
    f.CANDIDATE_ENTITY: ENTITY,
    f.TARGET_ENTITY: ENTITY,
    f.CATALOGUE_ENTITY: ENTITY,
    f.CATALOGUE_RELATED: ENTITY,
    f.EVENT_TYPE: EVENT_TYPE,
    f.TARGET_TYPE: EVENT_TYPE,
    f.USER_ATTRIBUTES: USER_ATTRIBUTE,
    f.CATALOGUE_CATEGORIES: CATEGORY,
    f.CATALOGUE_ATTRIBUTES: ATTRIBUTE,
}


def declared_tokens(features: Iterable[str]) -> dict[str, str]:
    """Returns the features that are declared tokens, and the vocabulary of each."""
    return {
        name: "token_" + name.removeprefix(CATALOGUE_TOKEN)
        for name in features
        if name.startswith(CATALOGUE_TOKEN)
    }
