//! The simulator is a test: see `main.rs`.
