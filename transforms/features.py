"""Names of the features of a timeline and of a catalogue row.

A timeline is one `tf.Example` for one user (or one chunk of a very long one).
Features of a group have one value for each event, page, impression or target
of the user and are ragged; the others have one value. The raw features are
bytes and numbers as the event log has them; Transform keeps every name and
replaces ids by vocabulary indices, of which 0 means "unknown or none".

An entity is written `type:id`, for two entity types may use the same ids.
"""

from __future__ import annotations

# --- Context of a timeline -------------------------------------------------
USER_ID = "user_id"
USER_ATTRIBUTES = "user/attributes"  # "key=value" tokens
CHUNK = "chunk"  # 0 for the first chunk of a user
CONTEXT_LENGTH = "context_length"  # leading events that are never targets
REQUEST_TIME = "request/time"  # microseconds; ages of events count from here
REQUEST_QUERY = "request/query"

# --- What the user did, oldest first (no impressions) ----------------------
EVENT_ENTITY = "event/entity"
EVENT_TYPE = "event/type"
EVENT_TIMESTAMP = "event/timestamp"  # microseconds since the epoch
EVENT_QUERY = "event/query"
EVENT_VALUE = "event/value"

# --- Result pages and what they showed -------------------------------------
PAGE_ID = "page/id"
PAGE_TIMESTAMP = "page/timestamp"
PAGE_QUERY = "page/query"
PAGE_HISTORY_LENGTH = "page/history_length"  # events that came before the page
IMPRESSION_PAGE = "impression/page"  # index into the pages of this timeline
IMPRESSION_POSITION = "impression/position"
IMPRESSION_ENTITY = "impression/entity"
IMPRESSION_CLICKED = "impression/clicked"
IMPRESSION_EVENTS = "impression/events"  # bit h: the event of head h followed on the page

# --- A page example: one page view (`validation_pages`, `test_pages`) -------
CANDIDATE_ENTITY = "candidate/entity"
CANDIDATE_POSITION = "candidate/position"  # -1 where there is none
LABEL_EVENTS = "label/events"  # bit h is head h; held out, read by no signature

# --- Held-out events: read by the evaluator, by no signature ----------------
TARGET_ENTITY = "target/entity"
TARGET_TYPE = "target/type"
TARGET_TIMESTAMP = "target/timestamp"

# --- Slices for the evaluator ----------------------------------------------
SLICE_ACTIVITY = "slice/activity"
NO_HISTORY = "0"  # its value for users without history
SLICE_TARGET_POPULARITY = "slice/target_popularity"
SLICE_TARGET_AGE = "slice/target_age"
SLICE_HISTORY = "slice/history"  # of a page: how many events came before
SLICE_QUERY = "slice/query"  # of a page: with or without
SLICE_CANDIDATE_POPULARITY = "slice/candidate_popularity"  # of each candidate of a page
SLICE_CANDIDATE_AGE = "slice/candidate_age"

# --- A catalogue row (the split `catalogue`) --------------------------------
CATALOGUE_ENTITY = "catalogue/entity"
CATALOGUE_TYPE = "catalogue/type"
CATALOGUE_TITLE = "catalogue/title"
CATALOGUE_CATEGORIES = "catalogue/categories"
CATALOGUE_ATTRIBUTES = "catalogue/attributes"  # "key=value" tokens
CATALOGUE_PRICE = "catalogue/price"
CATALOGUE_AVAILABLE_FROM = "catalogue/available_from"  # microseconds
CATALOGUE_RELATED = "catalogue/related"  # entities, e.g. the items a video shows
CATALOGUE_IMAGE = "catalogue/image"  # encoded bytes
CATALOGUE_IMAGE_VECTOR = "catalogue/image_vector"
CATALOGUE_TEXT_VECTOR = "catalogue/text_vector"

SPLITS = ("train", "validation", "test", "catalogue")
PAGE_SPLITS = ("validation_pages", "test_pages")


def entity(entity_type: str, entity_id: str) -> str:
    """Returns the qualified name of an entity, `type:id`."""
    return f"{entity_type}:{entity_id}"
