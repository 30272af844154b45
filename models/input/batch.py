"""Names of the tensors in a training or evaluation batch.

A row of a batch is a request: what the user did before it, newest first, and
what the user did then. B rows, T window events, S seen events, A attributes,
Q query words, M targets.

A sequence model learns from whole sequences instead: a row is a start token and a stretch
of a timeline, oldest first, with a target wherever the next event may be one. Ages are whole
microseconds, as timestamps are: differences of them are exact.
"""

from __future__ import annotations

HISTORY_PREFIXES = ("history/", "seen/")  # what a user did; all 0 where nothing is known
HISTORY_ENTITY = "history/entity"  # [B, T] int64, newest first, 0 is none or unknown
HISTORY_TYPE = "history/type"  # [B, T] int64
HISTORY_AGE = "history/age"  # [B, T] int64, microseconds before the request
HISTORY_LENGTH = "history/length"  # [B] int64, how many of the T are events
SEEN_ENTITY = "seen/entity"  # [B, S] int64, what may not be recommended again, 0 is none
USER_ATTRIBUTES = "user/attributes"  # [B, A] int64, 0 is none
QUERY_TOKENS = "query/tokens"  # [B, Q] int64, 0 is none
TARGET_ENTITY = "target/entity"  # [B] int64 in training, [B, M] in evaluation, 0 is none
TARGET_NUMBER = "target/number"  # [B] int64 in evaluation, how many of the M are targets

SEQUENCE_ENTITY = "sequence/entity"  # [B, T] int64, oldest first; 0 is the start, or none
SEQUENCE_TYPE = "sequence/type"  # [B, T] int64
SEQUENCE_LENGTH = "sequence/length"  # [B] int64, how many of the T are the start or events
SEQUENCE_AGE = "sequence/age"  # [B, T] int64, before the row's last request
SEQUENCE_REQUEST_AGE = "sequence/request_age"  # [B, T] int64, that of each position's request
SEQUENCE_MASKED = "sequence/masked"  # [B, T] bool, events that the model may not read
SEQUENCE_FORWARDS = "sequence/forwards"  # [B] bool, sequences that are read forwards
SEQUENCE_QUERY = "sequence/query"  # [B, T] bool, positions whose output is a query
SEQUENCE_TARGET = "sequence/target"  # [B, T] int64, what each query should find
SEQUENCE_FUTURE = "sequence/future"  # [B, F] int64, the targets that follow; 0 is none

# A page of a ranking model: a request and the C candidates that it showed or asks about.
USER = "user"  # [B] int64, a hash of the user's id; evaluation alone reads it
REQUEST_TIME = "request/time"  # [B] int64, microseconds; 0 is unknown
HISTORY_VALUE = "history/value"  # [B, T] float32, e.g. ratings; 0 is none
HISTORY_QUERY = "history/query"  # [B, T, Q] int64, words of the query that led to an event
OF_EVENTS = (HISTORY_ENTITY, HISTORY_TYPE, HISTORY_AGE, HISTORY_VALUE, HISTORY_QUERY)
CANDIDATE_ENTITY = "candidate/entity"  # [B, C] int64, 0 is unknown or padding
CANDIDATE_LENGTH = "candidate/length"  # [B] int64, how many of the C there are
CANDIDATE_POSITION = "candidate/position"  # [B, C] int64, -1 is unknown; training alone reads it
LABEL = "label"  # [B, C, H] float32, 1 where head h's event followed
