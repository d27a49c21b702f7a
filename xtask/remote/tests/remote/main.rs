//! The client against a server of the tests' own, which says what it is told to say.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod compression;
mod execution;
mod lies;
mod stub;
mod tls;
