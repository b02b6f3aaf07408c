-- Schema 1. Numbers are unsigned 64-bit ones in SQLite's signed form; times are milliseconds since
-- the Unix epoch. encoding: 0 as it is, 1 a zstd frame, 2 a zstd frame
-- with the dictionary of events.

CREATE TABLE runs (
    key         INTEGER PRIMARY KEY,
    id          TEXT    NOT NULL UNIQUE,
    -- Grows with each lease.
    fence       INTEGER NOT NULL,
    -- Names the lock file of who holds the run; NULL if nobody does.
    owner       TEXT,
    owner_label TEXT,
    -- The newest record; 0 before the first.
    head_seq    INTEGER NOT NULL,
    head_hash   BLOB    NOT NULL,
    -- What listings show.
    agent       TEXT    NOT NULL DEFAULT '',
    task        TEXT    NOT NULL DEFAULT '',
    status      TEXT    NOT NULL DEFAULT '',
    note        TEXT    NOT NULL DEFAULT '',
    ended       INTEGER NOT NULL DEFAULT 0,
    turns       INTEGER NOT NULL DEFAULT 0,
    tokens      INTEGER NOT NULL DEFAULT 0,
    nano_usd    INTEGER NOT NULL DEFAULT 0,
    created     INTEGER NOT NULL DEFAULT 0,
    updated     INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE log (
    key      INTEGER PRIMARY KEY,
    run      INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    version  INTEGER NOT NULL,
    encoding INTEGER NOT NULL,
    hash     BLOB    NOT NULL,
    body     BLOB    NOT NULL
) STRICT;

CREATE UNIQUE INDEX log_by_run ON log (run, seq);

CREATE TABLE snapshots (
    run      INTEGER PRIMARY KEY,
    seq      INTEGER NOT NULL,
    hash     BLOB    NOT NULL,
    encoding INTEGER NOT NULL,
    -- SHA-256 of the bytes before encoding.
    digest   BLOB    NOT NULL,
    bytes    BLOB    NOT NULL
) STRICT;

CREATE TABLE blobs (
    key      INTEGER PRIMARY KEY,
    digest   BLOB    NOT NULL UNIQUE,
    encoding INTEGER NOT NULL,
    bytes    BLOB    NOT NULL
) STRICT;

-- Which runs hold on to which blobs.
CREATE TABLE refs (
    run  INTEGER NOT NULL,
    blob INTEGER NOT NULL,
    PRIMARY KEY (run, blob)
) STRICT, WITHOUT ROWID;

-- Messages that wait for the drivers of runs.
CREATE TABLE signals (
    key  INTEGER PRIMARY KEY,
    run  INTEGER NOT NULL,
    at   INTEGER NOT NULL,
    body TEXT    NOT NULL
) STRICT;

CREATE INDEX signals_by_run ON signals (run);
