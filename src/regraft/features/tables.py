"""The tables of the feature store, and why they lie as they do."""

from __future__ import annotations

# Vectors stand last in their row, so that the columns before them are read without them, and in
# a table with integer ids: ids grow as rows are put, so a pass appends, and what was put together
# is read in one sweep. Keyed by digest (WITHOUT ROWID) each row would land on a random page.
# The time of last use is kept per put (table `batches`), because marking a row would rewrite it.
LAYOUT = 1
SCHEMA = """
CREATE TABLE files (path BLOB PRIMARY KEY, stamp BLOB, digest BLOB, seal INTEGER) WITHOUT ROWID;
CREATE TABLE facts (id INTEGER PRIMARY KEY, digest BLOB, version BLOB, body BLOB, seal INTEGER,
                    UNIQUE (digest, version));
CREATE TABLE recipes (id INTEGER PRIMARY KEY, digest TEXT UNIQUE, body TEXT);
CREATE TABLE batches (id INTEGER PRIMARY KEY, recipe INTEGER, dtype TEXT, row_bytes INTEGER,
                      used INTEGER);
CREATE TABLE features (id INTEGER PRIMARY KEY, recipe INTEGER, batch INTEGER, digest BLOB,
                       seal INTEGER, vector BLOB, UNIQUE (recipe, digest));
CREATE INDEX features_by_batch ON features (batch);
"""
TABLES = ("files", "facts", "recipes", "batches", "features")
