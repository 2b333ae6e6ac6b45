//! The fake Loki of the tests: it takes and refuses what Loki does, with Loki's words, and fails as it is told.

mod support;
